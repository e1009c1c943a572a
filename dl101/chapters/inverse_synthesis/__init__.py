"""The chapter on pitch by inverse synthesis: its experiment and its exercises."""
