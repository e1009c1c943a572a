"""The chapter on judging generated sounds."""
