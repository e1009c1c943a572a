"""The chapters, one room each: what a chapter compares and what it asks."""
