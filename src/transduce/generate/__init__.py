"""From a model and ids to ids: greedy, sampling and beam search in one loop, and scores."""
