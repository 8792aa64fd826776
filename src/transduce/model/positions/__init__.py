"""Encodings of where a token stands, one file each, found by walking this folder."""
