"""Had the model learned what it is asked about?

Two signs, looked for in everything that a model was trained on: the text of an item (word for word,
or most of its runs of words) and its picture (byte for byte, or one that looks the same). An item
counts as *learned* if one training example shows all of it: its picture together with its text, or
the text where there is no picture. Parts alone are counted beside that, for an unseen composition
is made of seen parts.

Shapes: R items, N training examples, P numbers of a picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.words import normal, words_of
from loopwright.store.corpus import Corpus
from loopwright.train.evaluate.task import Item

RUN_WORDS = 8
"""Words of a run; a shorter text is one run."""
MOST_OVERLAP = 0.5
"""Share of its runs from which on a text counts as known."""
NEAR = 0.02
"""Root-mean-square difference, of 1 from black to white, under which two pictures look the same."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Examples:
    """What a model was trained on: N examples, each a picture, texts about it, or both."""

    texts: Sequence[Sequence[str]]
    """All texts of each example."""
    pictures: np.ndarray | None = None
    """uint8 ``(N, H, W, 3)``."""

    @classmethod
    def of_corpus(cls, corpus: Corpus) -> Examples:
        """Take the columns ``pixels`` and ``text`` or ``text.<language>`` of a corpus.

        Raises:
            InvalidConfig: It has neither.
        """
        named = [c for c in corpus.columns if c == "text" or c.startswith("text.")]
        pictures = corpus.column("pixels") if "pixels" in corpus.columns else None
        if not named and pictures is None:
            raise InvalidConfig(
                f"{corpus.path} has neither texts nor pictures, but {list(corpus.columns)}"
            )
        columns = [corpus.column(name) for name in named]
        texts = [[c[row] for c in columns if c[row]] for row in range(corpus.num_rows)]
        return cls(texts=texts, pictures=pictures)

    @classmethod
    def of_text(cls, text: str) -> Examples:
        """Take a text: the whole of it, and each line."""
        return cls(texts=[[text], *([line] for line in text.splitlines() if line.strip())])

    @classmethod
    def of_json_lines(cls, text: str) -> Examples:
        """Take JSON lines: every text in a line, and all of them in their order.

        Raises:
            InvalidConfig: A line is no JSON.
        """
        examples: list[list[str]] = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    found = list(_texts_in(json.loads(line)))
                except ValueError as error:
                    raise InvalidConfig(f"line {number} is no JSON: {error}") from error
                examples.append([*found, "\n".join(found)])
        return cls(texts=examples)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contamination:
    """What of a list of items a model had learned."""

    items: int
    learned: tuple[str, ...]
    """Ids of the items that one example shows whole."""
    text_exact: int
    text_overlap: int
    """Items with at least half of their runs of words in one of the sources, exact ones too."""
    picture_exact: int
    picture_near: int
    """Items of which an example looks the same, exact ones too."""
    missing: tuple[str, ...] = ()
    """Digests of what the model was trained on that could not be looked at."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was learned, as far as was looked."""
        return not self.learned

    @property
    def is_whole(self) -> bool:
        """Whether everything was looked at that the model was trained on."""
        return not self.missing

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "learned": list(self.learned), "missing": list(self.missing)}


def check(
    items: Sequence[Item], sources: Iterable[Examples], *, missing: Sequence[str] = ()
) -> Contamination:
    """Look for items in what a model was trained on.

    Args:
        items: R of them.
        sources: Everything that it was trained on, as far as it is at hand.
        missing: Digests of the rest.
    """
    found = [_Signs.of(items, source) for source in sources] or [_Signs.none(len(items))]
    learned_R = np.any([signs.learned_R for signs in found], axis=0)

    def count(name: str) -> int:
        return int(np.any([getattr(signs, name) for signs in found], axis=0).sum())

    return Contamination(
        items=len(items),
        learned=tuple(item.id for item, hit in zip(items, learned_R, strict=True) if hit),
        text_exact=count("text_exact_R"),
        text_overlap=count("text_overlap_R"),
        picture_exact=count("picture_exact_R"),
        picture_near=count("picture_near_R"),
        missing=tuple(missing),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Signs:
    """What one source shows of each item; all bool ``(R,)``."""

    text_exact_R: np.ndarray
    text_overlap_R: np.ndarray
    picture_exact_R: np.ndarray
    picture_near_R: np.ndarray
    learned_R: np.ndarray

    @classmethod
    def none(cls, count: int) -> _Signs:
        nothing_R = np.zeros(count, bool)
        return cls(
            text_exact_R=nothing_R,
            text_overlap_R=nothing_R,
            picture_exact_R=nothing_R,
            picture_near_R=nothing_R,
            learned_R=nothing_R,
        )

    @classmethod
    def of(cls, items: Sequence[Item], source: Examples) -> _Signs:
        whole = {normal(text) for texts in source.texts for text in texts}
        traces = [item.trace or item.text for item in items]
        exact = [bool(trace) and normal(trace) in whole for trace in traces]
        runs = _Runs(source.texts, {_run_length(trace) for trace in traces if trace})
        overlap = [
            known or (bool(trace) and runs.overlap(trace) >= MOST_OVERLAP)
            for known, trace in zip(exact, traces, strict=True)
        ]
        same, near, both = [], [], []
        for item, distance_N in _distances(items, source.pictures):
            near_N = np.zeros(0, bool) if distance_N is None else distance_N < NEAR
            same.append(distance_N is not None and bool((distance_N == 0).any()))
            near.append(bool(near_N.any()))
            alike = np.flatnonzero(near_N).tolist()
            both.append(any(_says(source.texts[row], item.text) for row in alike))
        is_text = np.array([item.picture is None for item in items])
        return cls(
            text_exact_R=np.array(exact),
            text_overlap_R=np.array(overlap),
            picture_exact_R=np.array(same),
            picture_near_R=np.array(near),
            learned_R=np.where(is_text, overlap, both),
        )


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)


def _says(texts: Sequence[str], wanted: str) -> bool:
    """Tell whether an example's texts hold a text; where none is wanted, any will do."""
    return not wanted or normal(wanted) in {normal(text) for text in texts}


def _distances(
    items: Sequence[Item], pictures: np.ndarray | None
) -> Iterator[tuple[Item, np.ndarray | None]]:
    """Yield each item with its root-mean-square distance to every picture, ``(N,)``, if any."""
    if pictures is None:
        yield from ((item, None) for item in items)
        return
    pixel_NP = pictures.reshape(len(pictures), -1).astype(np.float32) / 255
    square_N = np.einsum("np,np->n", pixel_NP, pixel_NP)
    bytes_of: dict[bytes, list[int]] = {}
    for row, picture in enumerate(pictures):
        bytes_of.setdefault(picture.tobytes(), []).append(row)
    for item in items:
        if item.picture is None or item.picture.shape != pictures.shape[1:]:
            yield item, None
            continue
        pixel_P = item.picture.reshape(-1).astype(np.float32) / 255
        squared_N = square_N - 2 * (pixel_NP @ pixel_P) + pixel_P @ pixel_P
        # Rounding leaves a little where nothing differs, and could leave less than nothing.
        distance_N = np.sqrt(np.maximum(squared_N, 1e-6) / len(pixel_P))
        distance_N[bytes_of.get(item.picture.tobytes(), [])] = 0
        yield item, distance_N


def _run_length(text: str) -> int:
    return max(1, min(RUN_WORDS, len(words_of(text))))


class _Runs:
    """Every run of words in some texts, of the lengths that are asked for."""

    def __init__(self, texts: Sequence[Sequence[str]], lengths: set[int]) -> None:
        self._known: set[int] = set()
        for text in {text for some in texts for text in some}:
            words = words_of(text)
            for length in lengths:
                self._known.update(map(hash, _runs(words, length)))

    def overlap(self, text: str) -> float:
        """Return the share of a text's runs that are known."""
        runs = list(_runs(words_of(text), _run_length(text)))
        return sum(hash(run) in self._known for run in runs) / len(runs) if runs else 0.0


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    for begin in range(len(words) - length + 1):
        yield tuple(words[begin : begin + length])
