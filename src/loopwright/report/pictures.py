"""What can be looked at: films, imagined futures, and the map of where a policy succeeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loopwright.core.episode import Outcome
from loopwright.core.errors import InvalidConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Film:
    """One filmed episode."""

    mp4: bytes | Path
    """The film, or where it lies."""
    label: str
    outcome: Outcome
    caption: str = ""

    def read(self) -> bytes | None:
        """Return the bytes of the film; None when its file is gone."""
        if isinstance(self.mp4, bytes):
            return self.mp4
        return self.mp4.read_bytes() if self.mp4.is_file() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmPair:
    """The same start before and after learning."""

    seed: int
    before: Film | None = None
    after: Film | None = None
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Imagination:
    """What the model expected to see, beside what came."""

    real: np.ndarray
    """uint8 ``(N, H, W, 3)``."""
    imagined: np.ndarray
    """uint8 ``(N, h, w, 3)``."""
    ahead_s: tuple[float, ...] = ()
    """How far ahead of the present each frame lies, in seconds; empty or N long."""
    caption: str = ""

    def __post_init__(self) -> None:
        """Refuse arrays that are no two films of the same length."""
        for name, frames in (("real", self.real), ("imagined", self.imagined)):
            if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
                raise InvalidConfig(
                    f"imagination: {name} frames are {frames.dtype} {frames.shape}, "
                    "expected uint8 (N, H, W, 3)"
                )
        if len(self.real) != len(self.imagined) or len(self.ahead_s) not in (0, len(self.real)):
            raise InvalidConfig(
                f"imagination: {len(self.real)} real and {len(self.imagined)} imagined frames, "
                f"{len(self.ahead_s)} times; expected the same number of each"
            )

    def __eq__(self, other: object) -> bool:
        """Compare by content; arrays have no truth value of their own."""
        if not isinstance(other, Imagination):
            return NotImplemented
        return (
            np.array_equal(self.real, other.real)
            and np.array_equal(self.imagined, other.imagined)
            and (self.ahead_s, self.caption) == (other.ahead_s, other.caption)
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]


@dataclass(frozen=True, kw_only=True, slots=True)
class StartPoint:
    """One gate start and how both policies did there."""

    x: float
    y: float
    before: Outcome
    after: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class DomainMap:
    """Where in the operating domain a policy succeeds, before and after learning."""

    x_name: str
    y_name: str
    unit: str
    points: tuple[StartPoint, ...]
    covered: tuple[float, float, float, float] | None = None
    """The part that demonstrations cover: x low, x high, y low, y high."""
    covered_label: str = "demonstrated"
