"""The formulas as pure functions, without parameters."""
