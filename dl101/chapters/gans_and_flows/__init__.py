"""The chapter on adversarial networks and normalising flows for sound."""
