"""The chapter on chroma."""
