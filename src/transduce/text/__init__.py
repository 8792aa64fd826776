"""Strings to token ids and back: one kind of tokeniser per file, all kept in a standard `tokenizer.json`."""
