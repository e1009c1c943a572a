"""The chapter on the early works: networks that write a sound sample by sample."""
