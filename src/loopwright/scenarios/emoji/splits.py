"""Which emoji a model may learn from, and which it is asked about: lists frozen before training.

A training item is an emoji, a style and a language. Held out are:

- unseen compositions of what is shown: ``tone`` (the emoji and the skin tone are shown, not
  together), ``gender`` (of a role, in all tones), ``colour`` (of an object), ``style`` (the emoji
  is shown in other styles), ``language`` (the name in that language; the picture, its names in
  others and the name of it with other tones are shown);
- leak controls, which nobody can know: ``concept`` (one emoji is asked about, all its variants are
  hidden) and ``flag``. Each has a word in its name that neither another English label or tag has,
  nor two words of others make up. Exact captions well above zero mean a leak.

``seen`` is what is trained on. Each kind has a list ``tune`` to choose settings by, and a list
``report`` for the figures alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, get_args

import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import DamagedData, UnknownName
from loopwright.scenarios.emoji.corpus import Emoji

Kind = Literal["seen", "tone", "gender", "colour", "style", "language", "concept", "flag"]
Part = Literal["tune", "report"]

KINDS: tuple[Kind, ...] = get_args(Kind)
PARTS: tuple[Part, ...] = get_args(Part)
HEXCODE_KINDS: tuple[Kind, ...] = ("tone", "gender", "colour", "concept", "flag")
"""Kinds that hold emoji out in every style and language."""

DIGEST = "50835407b922acd4950ae46d28f3ebe42411370f217dab6ab40f63602e466d0e"
"""SHA-256 of ``splits.json``. Figures on other lists are other figures, so a change of the lists is
a change of this line too."""

TWO_TONES_KEPT = 0.3
"""Weight of a couple of two tones: there are some 900 pictures of few concepts."""

_FILE = "splits.json"

Lists = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """The frozen lists."""

    hexcodes: Mapping[Kind, Mapping[Part, frozenset[str]]]
    """Hexcodes of ``seen`` and of the kinds that hold emoji out altogether."""
    hidden: frozenset[str]
    """Hexcodes that are neither shown nor asked about: variants of the hidden concepts."""
    by_style: Mapping[Part, Mapping[str, frozenset[str]]]
    """Style to hexcodes that are not shown in it."""
    by_language: Mapping[Part, Mapping[str, frozenset[str]]]
    """Language to hexcodes whose name in it is not shown."""

    def is_train(self, hexcode: str, style: str, language: str = "en") -> bool:
        """Whether a model may learn from this emoji in this style with its texts in a language."""
        return not (
            hexcode in self.hidden
            or any(hexcode in self.hexcodes[kind][part] for kind in HEXCODE_KINDS for part in PARTS)
            or any(hexcode in self.by_style[part].get(style, ()) for part in PARTS)
            or any(hexcode in self.by_language[part].get(language, ()) for part in PARTS)
        )

    def train_rows(self, emoji: Emoji, language: str = "en") -> np.ndarray:
        """Return the rows to learn from with texts in a language, int64 ascending."""
        pairs = zip(emoji.hexcode, emoji.style, strict=True)
        return np.flatnonzero([self.is_train(*pair, language) for pair in pairs])

    def rows(self, emoji: Emoji, kind: Kind, part: Part, language: str = "en") -> np.ndarray:
        """Return the rows of a list, int64 ascending.

        An emoji has a row in each style it was drawn in, so rows of one emoji are not independent:
        make intervals over hexcodes. Rows of ``style`` are those that are shown in another of the
        loaded styles: none, when one style is loaded. Only ``language`` and ``seen`` depend on the
        language; ``language`` is empty for English.

        Raises:
            UnknownName: There is no such kind or part.
        """
        if kind not in KINDS:
            raise UnknownName("split", kind, KINDS)
        if part not in PARTS:
            raise UnknownName("part of a split", part, PARTS)
        if kind == "style":
            return self._style_rows(emoji, part)
        if kind == "language":
            held = self.by_language[part].get(language, frozenset())
            shown = self.train_rows(emoji, _ALWAYS_SHOWN)
            return shown[[hexcode in held for hexcode in emoji.hexcode[shown]]]
        listed = np.array([hexcode in self.hexcodes[kind][part] for hexcode in emoji.hexcode])
        rows = np.flatnonzero(listed)
        return np.intersect1d(rows, self.train_rows(emoji, language)) if kind == "seen" else rows

    def _style_rows(self, emoji: Emoji, part: Part) -> np.ndarray:
        shown = set(emoji.hexcode[self.train_rows(emoji, _ALWAYS_SHOWN)])
        held = self.by_style[part]
        pairs = zip(emoji.hexcode, emoji.style, strict=True)
        return np.flatnonzero([h in held.get(style, ()) and h in shown for h, style in pairs])


_ALWAYS_SHOWN = "en"
"""No name in English is held out for its language."""


@cache
def load_splits() -> Splits:
    """Return the lists that come with Loopwright.

    Raises:
        DamagedData: The file is not the one that was frozen.
    """
    data = resources.files("loopwright.scenarios.emoji").joinpath(_FILE).read_bytes()
    if (found := digest_bytes(data)) != DIGEST:
        raise DamagedData(
            f"{_FILE} has the digest {found[:12]}, expected {DIGEST[:12]}; install Loopwright "
            "again. The lists are frozen: figures on other lists cannot be compared"
        )
    return from_json(json.loads(data))


def from_json(data: Mapping[str, Any]) -> Splits:
    """Read the plain data of ``splits.json``."""
    return Splits(
        hexcodes={
            kind: {part: frozenset(data[kind][part]) for part in PARTS}
            for kind in ("seen", *HEXCODE_KINDS)
        },
        hidden=frozenset(data["hidden"]),
        by_style={part: _sets(data["style"][part]) for part in PARTS},
        by_language={part: _sets(data["language"][part]) for part in PARTS},
    )


def _sets(lists: Lists) -> dict[str, frozenset[str]]:
    return {name: frozenset(items) for name, items in lists.items()}


def sampling_weights(emoji: Emoji, rows: np.ndarray) -> np.ndarray:
    """Return how often each row should be shown, so that skin tones do not drown the rest.

    A row weighs one over the root of the size of its family: the emoji with the same base among
    the rows. Of the emoji with two different tones only :data:`TWO_TONES_KEPT` counts.

    Args:
        emoji: The emoji.
        rows: int ``(N,)``, rows of it.

    Returns:
        float64 ``(N,)``, summing to one (none for no rows).
    """
    shown = {(h, b): None for h, b in zip(emoji.hexcode[rows], emoji.base[rows], strict=True)}
    sizes: dict[str, int] = {}
    for _, base in shown:
        sizes[base] = sizes.get(base, 0) + 1
    weights = np.array([sizes[base] for base in emoji.base[rows]], float) ** -0.5
    weights[emoji.tones[rows, 1] > 0] *= TWO_TONES_KEPT
    return weights / weights.sum() if len(rows) else weights
