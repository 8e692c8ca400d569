"""Painting emoji as a scenario: a seed names one, a canvas is filled, a gallery says what it is."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from loopwright.core.canvas import PaintRequest, canvas_interface, rows_of
from loopwright.core.episode import EpisodeHeader, SourceKind
from loopwright.core.errors import UnknownName
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Policy
from loopwright.core.scenario import World
from loopwright.core.seeds import generator
from loopwright.scenarios.emoji.items import TINY_GROUPS, EmojiItems, EmojiTask
from loopwright.scenarios.emoji.retrieval import Gallery, RetrievalVerifier
from loopwright.scenarios.emoji.world import CanvasWorld, canvas_evidence

_BODIES = ("robot",)

TASKS: tuple[EmojiTask, ...] = (
    EmojiTask(id="emoji-paint-v1", px=32),
    EmojiTask(id="emoji-paint-tiny-v1", px=16, groups=TINY_GROUPS),
)


class EmojiPaint(EmojiItems):
    """Paint the emoji that the instruction names."""

    instruction = "paint the emoji that is named"

    def __init__(self, task: EmojiTask, cache: Path | None = None) -> None:
        """Choose a task, and the folder of the emoji (the user's by default)."""
        super().__init__(task, cache)
        self.interface: Interface = canvas_interface(task.px)
        self.evidence = canvas_evidence(task.px)
        self.max_steps = task.px
        self.verifier = RetrievalVerifier(task.px, lambda: self._gallery, self._asked)

    def instruction_at(self, seed: int) -> str:
        """Return what a seed asks for, in words."""
        return self._words_for(self.item_at(seed))

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

    @cached_property
    def _gallery(self) -> Gallery:
        return Gallery.of(self.emoji, self.task.style, self.task.language)

    def _words_for(self, item: int) -> str:
        task = self.task
        return PaintRequest(self.name_of(item), task.language, task.style).to_instruction()

    def _asked(self, header: EpisodeHeader) -> int | None:
        """Return the id of the picture that an episode was to paint."""
        item = self.item_of(header.start)
        # Play is undirected: it has no instruction, and nobody asks how it went.
        if item is None or header.instruction not in ("", self._words_for(item)):
            return None
        return int(self.emoji.picture[item])


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
