"""The chapter on singing vocoders."""
