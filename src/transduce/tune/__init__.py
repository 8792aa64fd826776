"""Which weights move in a training, how fast, and from which step on: one way per file."""
