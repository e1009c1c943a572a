"""The chapter on neural codecs."""
