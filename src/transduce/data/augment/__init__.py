"""Pictures changed at random in training, one kind per file."""
