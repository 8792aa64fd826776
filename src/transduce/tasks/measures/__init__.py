"""How good predictions are, one measure per file."""
