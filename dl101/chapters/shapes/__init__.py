"""The chapter on shapes of filters on spectrograms."""
