"""Trained models behind HTTP: one server for every task and architecture, and a page to look inside."""
