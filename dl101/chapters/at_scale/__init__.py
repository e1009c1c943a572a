"""The chapter on scale: waveform or spectrogram under one back-end, while the data grow."""
