"""The chapter on attention: queries, keys and values, masks, positions, encoder and decoder."""
