"""The chapter on parametric filters."""
