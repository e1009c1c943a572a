"""The small experiments of the chapters, one module each, run by ``dl101 experiment``."""
