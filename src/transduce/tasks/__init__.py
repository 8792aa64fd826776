"""The tasks that a user can give to a model, one per file."""
