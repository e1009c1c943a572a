"""The chapter on few examples: networks from scratch, prototypes, and what other tasks lend."""
