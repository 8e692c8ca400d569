"""Loopwright: from a scenario with a checkable outcome to a model that keeps improving."""

__version__ = "0.1.0"
