"""The chapter on learned spectrograms."""
