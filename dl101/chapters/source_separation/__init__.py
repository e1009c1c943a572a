"""The chapter on source separation in the short-time spectrum."""
