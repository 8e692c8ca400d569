"""A stage that does nothing: what it costs is the overhead of a stage."""

from __future__ import annotations

from loopwright.core.stage import Site, StageResult, StageSpec


def noop(spec: StageSpec, site: Site) -> StageResult:
    """Return at once."""
    return StageResult()
