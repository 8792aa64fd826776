"""Weights of others: safetensors files, and the tables that say which of their tensors are which of ours."""
