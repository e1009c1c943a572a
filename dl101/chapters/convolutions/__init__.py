"""The chapter on convolutions: kernels, blocks, reach, depth, and what moves along."""
