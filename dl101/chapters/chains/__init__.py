"""The chapter on chains of parts: codes, notes in between, and translation."""
