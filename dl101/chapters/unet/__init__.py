"""The chapter on U-Nets: bridges, going up, odd sizes."""
