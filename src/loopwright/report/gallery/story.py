"""What a gallery shows, as plain data: nothing here knows a model or where pictures come from.

Shapes: H and W pixels, L layers with experts, E experts, R pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

SAME_LEVELS = 1.0
"""Pictures that differ less than this came from the same codes: it is below what rounding does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A figure with its interval."""

    value: float
    low: float
    high: float
    unit: str
    """``"share"`` for what lies between 0 and 1."""
    groups: int
    """Independent things that it was measured on; what the interval is over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What sort of emoji, or of anything else, a list holds."""

    name: str
    title: str
    about: str
    """One sentence: what the model was shown and what it was not."""
    is_shown: bool = False
    """Whether the model learned from these very pictures."""
    is_control: bool = False
    """Whether nobody can know these names, so that success would mean a leak."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Neighbour:
    """The training picture that is most like a painted one."""

    picture: np.ndarray
    """uint8 ``(H, W, 3)``, as it was drawn."""
    name: str
    distance: float
    """Root mean square difference in levels of 255, between what the painted codes and what its
    codes look like: 0 is a copy."""

    @property
    def is_copied(self) -> bool:
        """Whether the painted picture is this one, code for code."""
        return self.distance < SAME_LEVELS


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Painting:
    """A name that was painted."""

    prompt: str
    language: str
    style: str
    true: np.ndarray
    """uint8 ``(H, W, 3)``, as are the next two: what people drew."""
    restored: np.ndarray
    """What its codes bring back: no painting of it can be better."""
    painted: np.ndarray
    true_distance: float
    """Of the painted picture to the restored one, as in :class:`Neighbour`."""
    nearest: Neighbour
    is_right: bool
    """Whether of all drawings the true one was found nearest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaintingList:
    """Some paintings of a list, and what was found on all of it."""

    kind: Kind
    shown: tuple[Painting, ...]
    """Drawn at random."""
    total: int
    right: int
    copied: int
    """Paintings that are a training picture, code for code."""
    nearer_true: int
    """Paintings that are nearer to the true picture than to any training picture."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Caption:
    """A picture that was written about."""

    picture: np.ndarray
    """uint8 ``(H, W, 3)``."""
    said: str
    true: str
    language: str
    is_exact: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionList:
    """Some captions of a list, and how many of all were exact."""

    kind: Kind
    shown: tuple[Caption, ...]
    """Drawn at random."""
    total: int
    exact: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FreePrompt:
    """A prompt without a true picture, painted several times."""

    prompt: str
    painted: tuple[np.ndarray, ...]
    nearest: tuple[Neighbour, ...]
    """One for each painted picture."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokenGroup:
    """Tokens of one sort, and the experts they went to."""

    name: str
    modality: Literal["words", "codes"]
    tokens: int
    counts: np.ndarray
    """Integers: how often each expert was sent one."""

    @property
    def shares(self) -> np.ndarray:
        """Share of the sendings that each expert got; each layer sums to 1."""
        return self.counts / np.maximum(self.counts.sum(axis=-1, keepdims=True), 1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contrast:
    """How differently two sorts of tokens are spread over the experts of each layer."""

    name: str
    variation: np.ndarray
    """Total variation distance: 0 alike, 1 without a shared expert."""
    chance: np.ndarray
    """The same between random halves of one sort: what few tokens alone would show."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ExpertStory:
    """Which experts take which tokens."""

    layers: tuple[int, ...]
    """Numbers of the layers with experts, from 0."""
    experts: int
    chosen: int
    """Experts that every token is sent to."""
    groups: tuple[TokenGroup, ...]
    """By direction and modality."""
    languages: tuple[TokenGroup, ...]
    """Words by language; fewer than two are nothing to compare."""
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRow:
    """The figures of one list."""

    kind: Kind
    measures: Mapping[str, Measure]
    """Name of a metric to its figure; a missing one was not measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credit:
    """Whose work the pictures or names are."""

    package: str
    licence: str
    attribution: str
    changes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GalleryStory:
    """Everything a gallery says."""

    digest: str
    """Of the candidate."""
    parameters: int
    """Of the model and of the tokenizer of its pictures."""
    px: int
    """Side of the pictures."""
    codes: int
    """Codes of a picture."""
    part: str
    """Which lists: ``"report"`` or ``"tune"``."""
    language: str
    seed: int
    tries: int
    """Pictures of which the model kept the one that it found most like its name."""
    how: str
    """Temperature and guidance of the paintings, in words."""
    training_pictures: int
    is_trained_on_them: bool
    """Whether the candidate's lineage names the very corpus that neighbours are looked for in."""
    paintings: tuple[PaintingList, ...]
    captions: tuple[CaptionList, ...]
    free: tuple[FreePrompt, ...]
    experts: ExpertStory | None
    """None for a dense model."""
    scores: tuple[ScoreRow, ...]
    metrics: Mapping[str, str]
    """Name of each metric in the scores to its heading, in order."""
    tokenizer: Measure
    """Signal-to-noise ratio of what codes bring back, of all listed pictures."""
    credits: tuple[Credit, ...]
