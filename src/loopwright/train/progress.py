"""Progress of a part as progress of the whole."""

from __future__ import annotations

from loopwright.core.stage import ProgressSink


def part_of(progress: ProgressSink, begin: float, end: float) -> ProgressSink:
    """Return a sink for a part of the work, which fills the whole from ``begin`` to ``end``."""
    return lambda fraction, message: progress(begin + (end - begin) * fraction, message)
