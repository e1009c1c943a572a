"""Systems: bricks trained for a task, one file each."""
