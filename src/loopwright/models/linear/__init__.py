"""A linear policy on proprioception: the smallest candidate there is, NumPy only."""
