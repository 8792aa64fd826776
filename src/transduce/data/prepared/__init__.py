"""A corpus as files of token ids: written once by several processes, mapped into memory where it is trained on."""
