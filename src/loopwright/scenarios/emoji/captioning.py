"""Naming emoji as a scenario: a seed shows a picture, a text is written, its name says if it fits.

Pictures that no model may learn from are shown too (see :mod:`.asking`), so that a caption of an
unseen skin tone has to be put together from what is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from loopwright.core.caption import (
    PICTURE,
    CaptionRequest,
    action_of,
    byte_names,
    caption_interface,
    text_of,
)
from loopwright.core.episode import EpisodeHeader, SourceKind, Verdict
from loopwright.core.errors import InvalidConfig, UnknownName, WorldError
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Policy
from loopwright.core.scenario import World, WorldStep
from loopwright.core.seeds import generator
from loopwright.core.words import normal, word_f1
from loopwright.scenarios.emoji.items import TINY_GROUPS, EmojiItems, EmojiTask
from loopwright.scenarios.judgement import EvidenceVerifier, Judgement

TASKS: tuple[EmojiTask, ...] = (
    EmojiTask(id="emoji-caption-v1", px=32),
    EmojiTask(id="emoji-caption-tiny-v1", px=16, groups=TINY_GROUPS),
)
_BODIES = ("robot",)
_EVIDENCE = tuple(f"{name}_of_255" for name in byte_names())


class EmojiCaption(EmojiItems):
    """Write the name of the emoji that is shown."""

    evidence = _EVIDENCE
    max_steps = 1

    def __init__(self, task: EmojiTask, cache: Path | None = None) -> None:
        """Choose a task, and the folder of the emoji (the user's by default)."""
        super().__init__(task, cache)
        self.instruction = CaptionRequest(task.language).to_instruction()
        self.interface: Interface = caption_interface(task.px)
        self.verifier = NameVerifier(self)

    def make_world(self, *, body: str = "robot", image_px: int | None = None) -> World:
        """Put up the picture.

        Raises:
            UnknownName: There is no such body.
        """
        if body not in _BODIES:
            raise UnknownName("body", body, _BODIES)
        return PictureWorld(self, image_px or self.task.px)

    def behaviour(self, kind: SourceKind, world: World) -> Policy:
        """Return what writes the true name (``demo``, ``video``) or random letters (``play``)."""
        if kind in ("demo", "video"):
            return _Knower(self)
        if kind == "play":
            return _Typist()
        raise UnknownName("source kind", kind, ("demo", "play", "video"))

    def names_of(self, item: int) -> list[str]:
        """Return the names of all emoji that look exactly like this one."""
        same = np.flatnonzero(self.emoji.picture == self.emoji.picture[item])
        return [self.name_of(int(row)) for row in same]


class PictureWorld:
    """A picture that is written about once."""

    def __init__(self, scenario: EmojiCaption, image_px: int) -> None:
        """Show the pictures of a scenario.

        Args:
            scenario: Whose.
            image_px: Side of the image; pixels are repeated to fill it.
        """
        self.interface = scenario.interface
        self._scenario = scenario
        self._shown = np.arange(image_px) * scenario.task.px // image_px
        self._picture = np.zeros((scenario.task.px, scenario.task.px, 3), np.uint8)
        self._written = False

    def reset(self, seed: int) -> Observation:
        """Show what the seed says."""
        self._picture, self._written = self._scenario.picture_at(seed), False
        return self._observation()

    def step(self, action: np.ndarray) -> WorldStep:
        """Take down a text, float32 ``(A,)`` in 0..255.

        Raises:
            WorldError: There is one already.
        """
        if self._written:
            raise WorldError("a text was written; reset() shows the next picture")
        self._written = True
        applied = self.interface.action.clip(action)
        return WorldStep(
            observation=self._observation(),
            evidence=np.round(applied).astype(np.float64),
            applied=applied,
            ended=True,
        )

    def close(self) -> None:
        """Hold nothing, release nothing."""

    def _observation(self) -> Observation:
        return Observation(
            images={PICTURE: self._picture[np.ix_(self._shown, self._shown)]},
            proprio=np.array([self._written], dtype=np.float32),
            instruction=self._scenario.instruction,
            time_s=float(self._written),
        )


class NameVerifier:
    """A text is right when it is the whole name; the score is how many of its words it has."""

    name = "emoji-name/1"

    def __init__(self, scenario: EmojiCaption) -> None:
        """Judge by the names of a scenario."""
        self._scenario = scenario

    def __call__(self, header: EpisodeHeader, evidence: np.ndarray) -> Verdict:
        """Judge one text from its bytes ``(1, A)``; the score is F1 over words.

        Letters and spaces are compared as :func:`loopwright.core.words.normal` has them. Of
        emoji that look exactly alike, the name of any is right.
        """
        judge = partial(self._judge, header)
        return EvidenceVerifier(name=self.name, columns=_EVIDENCE, judge=judge)(header, evidence)

    def _judge(self, header: EpisodeHeader, columns: Mapping[str, np.ndarray]) -> Judgement:
        rows = np.stack(list(columns.values()), axis=1)
        item = self._scenario.item_of(header.start)
        if len(rows) != 1:
            return Judgement.unknown(f"{len(rows)} texts were written; one is asked for")
        # Play is undirected: it has no instruction, and nobody asks how it went.
        if item is None or header.instruction not in ("", self._scenario.instruction):
            return Judgement.unknown("start or instruction are none of this scenario")
        try:
            said = text_of(rows[0])
        except InvalidConfig as error:
            return Judgement(outcome="failure", score=0.0, reason=str(error))
        names = self._scenario.names_of(item)
        if normal(said) in map(normal, names):
            return Judgement(outcome="success", score=1.0, reason=f"it is called {said!r}")
        score = min(0.99, max(word_f1(said, name) for name in names))
        return Judgement(
            outcome="failure", score=score, reason=f"{said!r} was written; it is {names[0]!r}"
        )


class _Knower:
    """Writes the true name."""

    name = "knower/1"

    def __init__(self, scenario: EmojiCaption) -> None:
        self._scenario = scenario
        self._seed = 0

    def reset(self, seed: int) -> None:
        self._seed = seed

    def act(self, observation: Observation) -> np.ndarray:
        return action_of(self._scenario.name_of(self._scenario.item_at(self._seed)))


class _Typist:
    """Writes random letters."""

    name = "typist/1"

    def __init__(self) -> None:
        self._random = generator(0)

    def reset(self, seed: int) -> None:
        self._random = generator(seed, "play")

    def act(self, observation: Observation) -> np.ndarray:
        letters = self._random.integers(ord("a"), ord("z") + 1, size=12)
        return action_of("".join(map(chr, letters)))
