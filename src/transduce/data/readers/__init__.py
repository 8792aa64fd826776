"""Values of a column to numbers, one kind per file."""
