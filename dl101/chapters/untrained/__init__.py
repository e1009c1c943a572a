"""The chapter on networks without training: what an architecture knows before it learns."""
