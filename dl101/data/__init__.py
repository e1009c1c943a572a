"""Data on disk: file formats, catalogue and download of datasets, embedded corpora, caches."""
