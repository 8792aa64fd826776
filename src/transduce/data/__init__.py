"""Files to batches: one kind of data per file, one reader, and an order that is a function of numbers alone."""
