"""Worlds with checkable outcomes: one folder each, found by name or by path."""
