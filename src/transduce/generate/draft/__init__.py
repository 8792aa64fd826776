"""Ways to guess the next tokens of a text: one file each, walked to find them."""
