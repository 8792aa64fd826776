"""Logits to a loss: a sum and a count, one file per objective."""
