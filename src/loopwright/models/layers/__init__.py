"""The parts that every family is built from."""
