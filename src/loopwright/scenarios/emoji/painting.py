"""Painting emoji as a scenario: a seed names one, a canvas is filled, a gallery says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from loopwright.core.canvas import PaintRequest, canvas_interface, rows_of
from loopwright.core.episode import EpisodeHeader, SourceKind
from loopwright.core.errors import UnknownName
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Policy
from loopwright.core.scenario import Box, World
from loopwright.core.seeds import generator
from loopwright.scenarios.emoji.asking import Asking
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.packages import Style
from loopwright.scenarios.emoji.retrieval import Gallery, RetrievalVerifier
from loopwright.scenarios.emoji.splits import load_splits
from loopwright.scenarios.emoji.world import CanvasWorld, canvas_evidence

TINY_GROUPS = ("animals-nature", "food-drink")
"""Groups of the tiny task: some 250 pictures, none with a skin tone."""
_BODIES = ("robot",)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaintTask:
    """What is asked for, and how large."""

    id: str
    px: int
    style: Style = "twemoji"
    language: str = "en"
    groups: tuple[str, ...] = ()
    """Unicode groups to ask for, without skin tones; all, if there are none."""


TASKS: tuple[PaintTask, ...] = (
    PaintTask(id="emoji-paint-v1", px=32),
    PaintTask(id="emoji-paint-tiny-v1", px=16, groups=TINY_GROUPS),
)


class EmojiPaint:
    """Paint the emoji that the instruction names.

    The emoji are loaded when first needed, and fetched the first time of all: a scenario that is
    only named touches no file and no network.
    """

    instruction = "paint the emoji that is named"

    def __init__(self, task: PaintTask, cache: Path | None = None) -> None:
        """Choose a task, and the folder of the emoji (the user's by default)."""
        self.task, self._cache = task, cache
        self.id = task.id
        self.interface: Interface = canvas_interface(task.px)
        self.evidence = canvas_evidence(task.px)
        self.max_steps = task.px
        self.verifier = RetrievalVerifier(task.px, lambda: self._gallery, self._asked)

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
        return {"item": float(self._asking.item(seed))}

    def instruction_at(self, seed: int) -> str:
        """Return what a seed asks for, in words."""
        return self._words_for(self._asking.item(seed))

    def make_world(self, *, body: str = "robot", image_px: int | None = None) -> World:
        """Put up a canvas.

        Raises:
            UnknownName: There is no such body.
        """
        if body not in _BODIES:
            raise UnknownName("body", body, _BODIES)
        return CanvasWorld(
            side_px=self.task.px,
            image_px=image_px or self.task.px,
            instruction_at=self.instruction_at,
        )

    def behaviour(self, kind: SourceKind, world: World) -> Policy:
        """Return what copies the true picture (``demo``, ``video``) or paints noise (``play``)."""
        if kind in ("demo", "video"):
            return _Copyist(self)
        if kind == "play":
            return _Doodler(self.task.px)
        raise UnknownName("source kind", kind, ("demo", "play", "video"))

    def picture_at(self, seed: int) -> np.ndarray:
        """Return the picture that a seed asks for, uint8 ``(S, S, 3)``."""
        return self.emoji.pixels[self._asking.item(seed)]

    @cached_property
    def _asking(self) -> Asking:
        task = self.task
        return Asking.of(self.emoji, load_splits(), language=task.language, groups=task.groups)

    @cached_property
    def _gallery(self) -> Gallery:
        return Gallery.of(self.emoji, self.task.style, self.task.language)

    def _words_for(self, item: int) -> str:
        name = str(self.emoji.labels(self.task.language)[item])
        return PaintRequest(name, self.task.language, self.task.style).to_instruction()

    def _asked(self, header: EpisodeHeader) -> int | None:
        """Return the id of the picture that an episode was to paint."""
        item = header.start.get("item", -1.0)
        if not (0 <= item < len(self.emoji) and item == int(item)):
            return None
        # Play is undirected: it has no instruction, and nobody asks how it went.
        if header.instruction not in ("", self._words_for(int(item))):
            return None
        return int(self.emoji.picture[int(item)])


class _Copyist:
    """Paints the true picture."""

    name = "copyist/1"

    def __init__(self, scenario: EmojiPaint) -> None:
        self._scenario = scenario
        self._seed = 0

    def reset(self, seed: int) -> None:
        self._seed = seed

    def act(self, observation: Observation) -> np.ndarray:
        return rows_of(self._scenario.picture_at(self._seed))


class _Doodler:
    """Paints rows of random colours."""

    name = "doodler/1"

    def __init__(self, side_px: int) -> None:
        self._side_px = side_px
        self._random = generator(0)

    def reset(self, seed: int) -> None:
        self._random = generator(seed, "play")

    def act(self, observation: Observation) -> np.ndarray:
        return self._random.random((1, 3 * self._side_px), dtype=np.float32)
