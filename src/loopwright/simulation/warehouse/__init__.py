"""A small warehouse with four robots of different kinds, simulated with contact physics."""
