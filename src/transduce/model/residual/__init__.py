"""Placements of a sublayer in the stream, found by walking this folder."""
