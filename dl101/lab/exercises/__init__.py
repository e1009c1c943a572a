"""The checks of the exercises, one file per chapter, each with a mapping ``EXERCISES``."""
