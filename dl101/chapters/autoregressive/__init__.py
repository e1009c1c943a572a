"""The chapter on language models of codec tokens."""
