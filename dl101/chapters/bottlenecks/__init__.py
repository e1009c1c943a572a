"""The chapter on bottlenecks: auto-encoders and quantisers."""
