"""Published models in and out: folders as transformers and sentence-transformers have them."""
