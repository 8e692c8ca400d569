"""Tasks: items, how a model is asked about them, and how an answer is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from loopwright.core.digest import Json, digest_bytes, digest_json
from loopwright.core.errors import InvalidConfig

Model = TypeVar("Model")
Answer = TypeVar("Answer")


def _as_it_is(mean: float) -> float:
    return mean


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number that is worked out for each item and averaged."""

    name: str
    unit: str
    """``"share"`` for what lies between 0 and 1."""
    of_mean: Callable[[float], float] = _as_it_is
    """What the mean over the items is read as; rising or falling (``exp`` for a perplexity)."""
    weight: str = ""
    """Name of the value that items weigh by (their tokens, for a perplexity); none: all alike."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Item:
    """A text, a picture, or both: which is asked for and which is given is up to the task."""

    id: str
    """Unique in its task."""
    group: str
    """Items of a group are not independent (an emoji in two styles); intervals are over groups."""
    text: str = ""
    picture: np.ndarray | None = None
    """uint8 ``(H, W, 3)``."""
    facts: Mapping[str, Json] = field(default_factory=dict)
    """What else the task needs to ask or to judge, as plain data."""
    trace: str = ""
    """What to look for in training data, where it is more than the text."""

    @property
    def digest(self) -> str:
        """Digest of all of it."""
        picture: Json = None
        if self.picture is not None:
            pixels = np.ascontiguousarray(self.picture)
            picture = [list(pixels.shape), digest_bytes(pixels.tobytes())]
        return digest_json([self.id, self.group, self.text, picture, dict(self.facts)])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Task(Generic[Model, Answer]):
    """Something that a model is asked to do, and is judged on without its help."""

    name: str
    version: int
    """Raised whenever the same answers would be judged otherwise."""
    family: str
    """Of the models that can be asked (``"wudao"``, ``"language"``)."""
    items: tuple[Item, ...]
    metrics: tuple[Metric, ...]
    """The first one is the headline."""
    ask: Callable[[Model, Sequence[Item], int], Sequence[Answer]]
    """``ask(model, items, seed)``: an answer to each item of a batch; same seed, same answers."""
    verify: Callable[[Item, Answer], Mapping[str, float]]
    """``verify(item, answer)``: the value of each metric, and of each weight. Deterministic; knows
    no model."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """How the model is asked, as plain data."""
    batch: int = 64
    """Items that are asked at once."""

    def __post_init__(self) -> None:
        """Refuse a task of nothing, and items that cannot be told apart."""
        if not self.items:
            raise InvalidConfig(f"the task {self.name!r} has no items; expected at least one")
        if not self.metrics:
            raise InvalidConfig(f"the task {self.name!r} has no metrics; expected at least one")
        if self.batch < 1:
            raise InvalidConfig(f"batch is {self.batch}; expected at least 1")
        (most_frequent, times), *_ = Counter(item.id for item in self.items).most_common(1)
        if times > 1:
            raise InvalidConfig(
                f"the task {self.name!r} has {times} items with the id {most_frequent!r}; "
                "expected an id of its own for each"
            )

    @property
    def digest(self) -> str:
        """Digest of the name, the version, the settings and every item."""
        return digest_json(
            {
                "name": self.name,
                "version": self.version,
                "settings": dict(self.settings),
                "items": [item.digest for item in self.items],
            }
        )


AnyTask = Task[Any, Any]
