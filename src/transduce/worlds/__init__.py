"""Worlds in which a model acts: small ones that need no file, and those of gymnasium."""
