"""Simulated machines: what scenarios and robot drivers share of a physics engine."""
