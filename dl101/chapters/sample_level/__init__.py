"""The chapter on sample-level CNNs."""
