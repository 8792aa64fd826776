"""Processes that turn data into noise, found by walking this folder."""
