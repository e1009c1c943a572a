"""The chapter on cover song identification."""
