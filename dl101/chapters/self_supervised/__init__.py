"""The chapter on learning without labels."""
