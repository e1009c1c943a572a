"""The chapter on looking inside: what networks rest on, like and know, and how to check it."""
