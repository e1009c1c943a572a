"""The chapter on the spectrogram and its phase."""
