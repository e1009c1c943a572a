"""Bricks: reusable parts of neural networks."""
