"""Learning from the rewards of a model's own answers."""
