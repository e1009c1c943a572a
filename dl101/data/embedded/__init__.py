"""Corpora that ship inside the package: scores as note lists, recorded notes, a renderer."""
