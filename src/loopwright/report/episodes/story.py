"""What is shown of recorded episodes, as plain frozen data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopwright.core.episode import Annotation, EpisodeHeader, SourceKind, Verdict
from loopwright.store.curate import Judgement, judgement
from loopwright.store.ledger import EpisodeRow

JUDGEMENT_BADGES: Mapping[Judgement, tuple[str, str]] = {
    "success": ("good", "✓"),
    "failure": ("bad", "✕"),
    "unknown": ("warn", "?"),
    "unjudged": ("none", "○"),
}
"""How an outcome looks: a tone of the style sheet, and a sign for those who see no colour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """Some frames of one camera, side by side in one picture."""

    camera: str
    jpeg: bytes
    num_frames: int
    height_px: int
    width_px: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Panel:
    """Components of one vector that share a unit, over time."""

    vector: str
    """``"action"`` or ``"proprio"``."""
    unit: str
    names: tuple[str, ...]
    values: np.ndarray
    """float ``(T, len(names))``; of an action what the actuators got."""
    requested: np.ndarray | None = None
    """float ``(T, len(names))``: what was asked for, where that differs."""

    @property
    def scale_key(self) -> tuple[str, str, tuple[str, ...]]:
        """Panels that have this in common are drawn on one scale."""
        return (self.vector, self.unit, self.names)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Footage:
    """What is in the files of an episode, as far as it is shown."""

    header: EpisodeHeader
    recorded_at: str
    time_s: np.ndarray
    """float64 ``(T,)``."""
    strips: tuple[Strip, ...]
    panels: tuple[Panel, ...]
    """None of a video: it has no actions."""

    @property
    def duration_s(self) -> float:
        """Time from the first row to the last."""
        return float(self.time_s[-1] - self.time_s[0])

    def share_of(self, step: int | None) -> float:
        """Return where on the time axis a step lies, 0 to 1; None is the end."""
        if step is None or step >= len(self.time_s) or self.duration_s <= 0:
            return 1.0
        return float(self.time_s[step] - self.time_s[0]) / self.duration_s


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EpisodeStory:
    """One episode: what the index knows, what was concluded and noted, and its pictures."""

    row: EpisodeRow
    verdicts: tuple[Verdict, ...] = ()
    """Every verdict, oldest first; only the standing one if the rest was not asked for."""
    standing: Verdict | None = None
    annotations: tuple[Annotation, ...] = ()
    footage: Footage | None = None
    damage: str | None = None
    """Why there is no footage."""

    @property
    def judgement(self) -> Judgement:
        """Outcome of the verdict that stands."""
        return judgement(self.standing)

    @property
    def state(self) -> Literal["whole", "cut short", "damaged"]:
        """Whether the recording is all there."""
        if self.damage is not None:
            return "damaged"
        return "cut short" if self.row.censored is not None else "whole"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SnapshotStory:
    """A snapshot: facts about all of it, and the first of its episodes in full."""

    digest: str
    rule: str
    """How they were chosen; empty if nothing is on record."""
    rows: tuple[EpisodeRow, ...]
    """Every episode that is on record, in the order of the snapshot."""
    judgements: Mapping[str, Judgement]
    """Of every row, by id."""
    missing: tuple[str, ...] = ()
    """Episodes that it names but that are not on record any more."""
    episodes: tuple[EpisodeStory, ...] = ()
    cut: str | None = None
    """Why not every row is among the episodes, in one sentence."""

    @property
    def choice(self) -> str:
        """How the episodes were chosen, in one sentence."""
        if self.rule:
            return f"Chosen by the rule: {self.rule}."
        return "Named one by one: no rule is on record by which they were chosen."

    def outcomes_by_kind(self) -> dict[SourceKind, Counter[Judgement]]:
        """Return how many episodes of each kind ended how."""
        counts: dict[SourceKind, Counter[Judgement]] = {}
        for row in self.rows:
            counts.setdefault(row.kind, Counter())[self.judgements[row.id]] += 1
        return counts

    def outcomes(self) -> Counter[Judgement]:
        """Return how many episodes ended how."""
        return sum(self.outcomes_by_kind().values(), Counter())

    @property
    def num_steps(self) -> int:
        """Control steps of all rows."""
        return sum(row.num_steps for row in self.rows)


def scales(episodes: Sequence[EpisodeStory]) -> dict[tuple, tuple[float, float]]:
    """Return one vertical range for all panels of a kind, so that episodes can be compared."""
    found: dict[tuple, tuple[float, float]] = {}
    for panel in (p for e in episodes if e.footage for p in e.footage.panels):
        for values in (panel.values, panel.requested):
            finite = values[np.isfinite(values)] if values is not None else np.empty(0)
            if not finite.size:
                continue
            low, high = float(finite.min()), float(finite.max())
            before = found.get(panel.scale_key, (low, high))
            found[panel.scale_key] = (min(before[0], low), max(before[1], high))
    return found
