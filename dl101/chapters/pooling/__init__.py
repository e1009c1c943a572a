"""The chapter on poolings: from a sequence to one answer."""
