"""Faults of a world that are nobody's breach of contract."""

from __future__ import annotations

from loopwright.core.errors import WorldError


class SimulationDiverged(WorldError):
    """The physics of one episode went to infinity; other episodes are sound."""
