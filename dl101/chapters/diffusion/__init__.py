"""The chapter on latent flow."""
