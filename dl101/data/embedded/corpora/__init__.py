"""One recipe a corpus: what is played, what is labelled, what differs between the splits."""
