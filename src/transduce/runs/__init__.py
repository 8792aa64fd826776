"""A run directory: who may write in it, what is in it, and how it is opened again."""
