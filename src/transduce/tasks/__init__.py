"""What a user gets of a model: one task per file."""
