"""The chapter on features at speed."""
