"""The chapter on ways of training: six of them on one plane of sounds."""
