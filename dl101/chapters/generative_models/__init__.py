"""The chapter on generative modelling."""
