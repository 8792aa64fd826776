"""Ways to tune, one per file: which weights move in a training, how fast, and from which step on."""
