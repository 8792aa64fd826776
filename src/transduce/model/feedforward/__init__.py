"""Feed-forwards, one file each, found by walking this folder."""
