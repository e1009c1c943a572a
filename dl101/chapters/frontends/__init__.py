"""What all chapters of the part Front-ends share: their comparison."""
