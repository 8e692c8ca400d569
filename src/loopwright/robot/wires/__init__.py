"""Wires: how processes, people and other systems reach a fleet, each with a secret of its own."""
