"""The chapter on the constant-Q transform."""
