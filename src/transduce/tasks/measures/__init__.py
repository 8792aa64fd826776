"""Measures of how good predictions are, one per file."""
