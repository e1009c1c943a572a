"""Metrics and result records: NumPy arrays in, named scores out."""
