"""The chapter on auto-tagging."""
