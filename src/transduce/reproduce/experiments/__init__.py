"""One claim per file, found by walking this folder."""
