"""The chapter on differentiable synthesis: oscillators, filtered noise, parameters by gradient."""
