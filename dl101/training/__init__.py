"""Training: the loop, checkpoints, batches and streaming that any task can use."""
