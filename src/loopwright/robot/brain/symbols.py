"""What the arguments of predicates may be, which narrows what a planner has to try."""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.robot.memory.things import Thing

KINDS: Mapping[str, tuple[str, ...]] = {
    "on": ("object", "carrier"),
    "at": ("placed", "station"),
    "astray": ("robot",),
    "holding": ("robot", "object"),
    "free-hand": ("robot",),
    "clear": ("carrier",),
}
"""Predicate to the kinds of its arguments, which narrows what a parameter may be."""


def kinds_of(thing: Thing) -> frozenset[str]:
    """Return every kind that a thing counts as: a robot that carries is a carrier too."""
    kinds = {str(thing.kind)}
    if thing.carries:
        kinds.add("carrier")
    if thing.kind in ("robot", "surface"):
        kinds.add("placed")
    return frozenset(kinds)
