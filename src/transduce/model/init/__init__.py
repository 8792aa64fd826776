"""Start values: schemes, found by walking this folder."""
