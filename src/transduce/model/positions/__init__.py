"""Where a token stands: encodings, one file each, found by walking this folder."""
