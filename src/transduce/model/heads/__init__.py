"""Hidden states to logits, one kind per file."""
