"""The chapter on filter shapes: networks for rhythm and for timbre, and which task needs which."""
