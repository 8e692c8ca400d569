"""The memory of the world: what is where, since when, by whose word, and how sure that is."""
