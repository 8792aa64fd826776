"""Token ids to vectors, one kind per file."""
