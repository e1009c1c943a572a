"""The chapter on the waveform."""
