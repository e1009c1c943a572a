"""The chapter on augmentation."""
