"""The chapter on multi-pitch estimation."""
