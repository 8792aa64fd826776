"""Rewards of answers that are computed."""
