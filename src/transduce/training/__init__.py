"""From a recipe to a finished run: `train.train` does it all, `loop.train` is the loop."""
