"""Referees of worlds that are words: one file each."""
