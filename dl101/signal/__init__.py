"""Signals to arrays, in NumPy: waveforms, spectra, features, augmentation; one idea a file."""
