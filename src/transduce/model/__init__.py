"""Batches to hidden states to logits: every part of a sequence model."""
