"""Drivers: what a robot of some kind looks like to its cerebellum and its guard."""
