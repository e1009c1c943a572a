"""The chapter on recurrent networks."""
