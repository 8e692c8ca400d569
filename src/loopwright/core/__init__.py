"""The vocabulary of the house as types and protocols. NumPy only."""
