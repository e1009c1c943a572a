"""What a notebook shows, plays and checks."""
