"""Which emoji a seed is about: what painting and naming them have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from loopwright.core.scenario import Box
from loopwright.scenarios.emoji.asking import Asking
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.packages import Style
from loopwright.scenarios.emoji.splits import load_splits

TINY_GROUPS = ("animals-nature", "food-drink")
"""Groups of the tiny tasks: some 250 pictures, none with a skin tone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmojiTask:
    """Which emoji are asked for, and how large."""

    id: str
    px: int
    style: Style = "twemoji"
    language: str = "en"
    groups: tuple[str, ...] = ()
    """Unicode groups to ask for, without skin tones; all, if there are none."""


class EmojiItems:
    """The emoji of a task, one of which a seed asks for.

    They are loaded when first needed, and fetched the first time of all: a scenario that is only
    named touches no file and no network.
    """

    def __init__(self, task: EmojiTask, cache: Path | None = None) -> None:
        """Choose a task, and the folder of the emoji (the user's by default)."""
        self.task, self._cache = task, cache
        self.id = task.id

    @cached_property
    def emoji(self) -> Emoji:
        """The emoji in the style of the task; their rows are the items."""
        return load_emoji(self.task.px, (self.task.style,), self._cache)

    @property
    def domain(self) -> Box:
        """The items that can be asked for."""
        return Box(low={"item": 0.0}, high={"item": float(len(self.emoji) - 1)})

    def start(self, seed: int) -> Mapping[str, float]:
        """Return the item that a seed asks for."""
        return {"item": float(self.item_at(seed))}

    def item_at(self, seed: int) -> int:
        """Return the row that a seed asks for."""
        return self._asking.item(seed)

    def picture_at(self, seed: int) -> np.ndarray:
        """Return the picture that a seed is about, uint8 ``(S, S, 3)``."""
        return self.emoji.pixels[self.item_at(seed)]

    def name_of(self, item: int) -> str:
        """Return what an emoji is called in the language of the task."""
        return str(self.emoji.labels(self.task.language)[item])

    def item_of(self, start: Mapping[str, float]) -> int | None:
        """Return the row that the start of an episode names; None if there is no such row."""
        item = start.get("item", -1.0)
        return int(item) if 0 <= item < len(self.emoji) and item == int(item) else None

    @cached_property
    def _asking(self) -> Asking:
        task = self.task
        return Asking.of(self.emoji, load_splits(), language=task.language, groups=task.groups)
