"""Memories that are written and read: one file each, found by walking this folder."""
