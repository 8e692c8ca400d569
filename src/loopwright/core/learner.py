"""Learners: functions that turn episodes into a candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopwright.core.digest import Json
from loopwright.core.episode import Episode
from loopwright.core.stage import ProgressSink


def _silent(fraction: float, message: str) -> None:
    """Show nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitJob:
    """What a learner is to learn from, and where it may write."""

    episodes: Sequence[Episode]
    """In an order that is fixed."""
    seed: int
    """Fixes everything random: the same job gives the same bytes."""
    out: Path
    """Folder for the sealed candidate; made if need be."""
    scratch: Path
    """Folder for checkpoints. It outlives a crash; started again with it, a fit goes on."""
    lineage: Mapping[str, Json] = field(default_factory=dict)
    """Where the candidate comes from, for its manifest."""
    corpora: Sequence[Path] = ()
    """Corpora to learn from beside episodes (:mod:`loopwright.store.corpus`)."""
    start: Path | None = None
    """A candidate to start from, for learners that take over a part of another model."""
    progress: ProgressSink = _silent
    """Told the finished fraction and a message."""


LearnFunction = Callable[[Mapping[str, Any], FitJob], Mapping[str, Json]]
"""``learn(config, job) -> facts``: writes a sealed candidate to ``job.out`` and returns small plain
results. The configuration is plain data; a learner refuses keys that it does not know."""
