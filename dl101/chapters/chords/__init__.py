"""The chapter on chords."""
