"""The chapter on dilation and TCN."""
