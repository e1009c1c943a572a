"""The chapter on source separation end to end, on waveforms."""
