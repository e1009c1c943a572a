"""The chapter on TUNe, and on what the shape of a network does for its representations."""
