"""Normalisations of the feature axis, found by walking this folder."""
