"""Learners: functions that turn episodes into a candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from loopwright.core.digest import Json
from loopwright.core.episode import Episode
from loopwright.core.stage import ProgressSink


def _silent(fraction: float, message: str) -> None:
    """Show nothing."""


class Mirror(Protocol):
    """Shows the metrics of a fit elsewhere, beside the files that count."""

    def begin(self, name: str, step: int) -> None:
        """Hear that a training starts at a step; what was shown of later ones no longer holds.

        Args:
            name: Tells the trainings of a fit apart, which follow each other.
            step: Its first, or the one that it goes on from.
        """
        ...

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of one step."""
        ...

    def end(self) -> None:
        """Hear that this training is over, well or not."""
        ...


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
    mirrors: Sequence[Mirror] = ()
    """Where else metrics are shown, by learners that train in steps."""


Learn = TypeVar("Learn", bound=Callable[..., Any])
Shaping = Callable[[Mapping[str, Any]], Mapping[str, Json]]
LearnFunction = Callable[[Mapping[str, Any], FitJob], Mapping[str, Json]]
"""``learn(config, job) -> facts``: writes a sealed candidate to ``job.out`` and returns small plain
results. The configuration is plain data; a learner refuses keys that it does not know."""


def shaped_by(shaping: Shaping) -> Callable[[Learn], Learn]:
    """Let a learner say which of its settings shape the result; of others, all do.

    Args:
        shaping: Returns these settings of a configuration. What it leaves out, like the number of
            processes, may change when a training that was interrupted goes on.
    """

    def marked(learn: Learn) -> Learn:
        learn.shaping = shaping  # pyright: ignore[reportFunctionMemberAccess]
        return learn

    return marked


def shaping_of(learn: LearnFunction, config: Mapping[str, Any]) -> Mapping[str, Json]:
    """Return the settings that shape what a learner makes of a configuration."""
    shaping: Shaping = getattr(learn, "shaping", dict)
    return shaping(config)
