"""Ancestors of the Transformer outside sequences: convolution, residual learning, layer-wise pre-training."""
