"""The matrices of a model in fewer bits, for reading only: rounded, fitted, multiplied, and measured."""
