"""Families of published checkpoints: their config.json as a model of ours, and the table of their tensors."""
