"""How a text and a picture stand in one sequence, in either order.

``begin, style, language, text, picture, codes, end`` is painting from words;
``begin, picture, codes, language, text, end`` is writing about a picture. The model learns both
from the same pairs.

Shapes: B batch, T tokens of the longest sequence, N codes of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopwright.models.wudao.words import BEGIN, END, PAD, PICTURE


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and the codes of its picture."""

    text: Sequence[int]
    code_N: np.ndarray
    """int64."""
    language: int
    """Mark of the language."""
    style: int
    """Mark of the drawing style."""


Framed = tuple[list[int], int]
"""The tokens of a sequence, and the index of its first code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Tokens to be predicted, kind by kind."""

    painted: float
    """Codes that follow from a text."""
    written: float
    """Words that follow from a picture."""
    shown: float
    """Codes that come first."""
    told: float
    """Words that come first."""

    @classmethod
    def of(cls, framed: Sequence[Framed], paints: Sequence[bool], *, codes: int) -> Counts:
        """Count what is to be predicted in sequences; the first token of each is given."""
        words = [len(tokens) - codes - 1 for tokens, _ in framed]
        painting = sum(paints)
        told = sum(w for w, painted in zip(words, paints, strict=True) if painted)
        return cls(
            painted=codes * painting,
            written=sum(words) - told,
            shown=codes * (len(framed) - painting),
            told=told,
        )

    def over(self, portions: int) -> Counts:
        """Return the mean of so many equal portions."""
        return Counts(
            painted=self.painted / portions,
            written=self.written / portions,
            shown=self.shown / portions,
            told=self.told / portions,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequences:
    """A batch of sequences, filled up at the end."""

    token_BT: Tensor
    """int64: words, and codes counted on from the last word."""
    place_BT: Tensor
    """int64: where in its picture a code stands, from 1; 0 for words."""
    paints_B: Tensor
    """bool: whether the picture follows from the text, or the other way round."""
    counts: Counts
    """What sums over tokens are divided by: of a portion, the mean over the portions of its step,
    so that losses of portions average to the loss of the step."""

    def to(self, device: torch.device) -> Sequences:
        """Return the batch on a device."""
        return Sequences(
            token_BT=self.token_BT.to(device),
            place_BT=self.place_BT.to(device),
            paints_B=self.paints_B.to(device),
            counts=self.counts,
        )


def paint_prompt(text: Sequence[int], *, language: int, style: int) -> list[int]:
    """Return what comes before the codes of a picture; with no text, any picture may follow."""
    return [BEGIN, style, *([language, *text] if text else []), PICTURE]


def paint(pair: Pair, words: int, *, drop_text: bool = False) -> Framed:
    """Return a sequence that paints, and where its codes begin.

    Args:
        pair: What stands in it.
        words: Size of the text vocabulary.
        drop_text: Leave the text out, to learn pictures alone (Ho & Salimans, "Classifier-Free
            Diffusion Guidance", 2022).
    """
    text = [] if drop_text else pair.text
    prompt = paint_prompt(text, language=pair.language, style=pair.style)
    return [*prompt, *(pair.code_N + words).tolist(), END], len(prompt)


def write(pair: Pair, words: int) -> Framed:
    """Return a sequence that writes about a picture, and where its codes begin."""
    codes = (pair.code_N + words).tolist()
    return [BEGIN, PICTURE, *codes, pair.language, *pair.text, END], 2


def batch(
    framed: Sequence[Framed],
    paints: Sequence[bool],
    *,
    codes: int,
    counts: Counts | None = None,
) -> Sequences:
    """Join sequences into a batch.

    Args:
        framed: What :func:`paint` and :func:`write` returned.
        paints: Which of them paint.
        codes: N.
        counts: What losses are divided by; those of this batch by default.
    """
    longest = max(len(tokens) for tokens, _ in framed)
    token_BT = np.full((len(framed), longest), PAD, dtype=np.int64)
    place_BT = np.zeros((len(framed), longest), dtype=np.int64)
    for row, (tokens, first) in enumerate(framed):
        token_BT[row, : len(tokens)] = tokens
        place_BT[row, first : first + codes] = np.arange(1, codes + 1)
    return Sequences(
        token_BT=torch.from_numpy(token_BT),
        place_BT=torch.from_numpy(place_BT),
        paints_B=torch.tensor(paints),
        counts=counts or Counts.of(framed, paints, codes=codes),
    )
