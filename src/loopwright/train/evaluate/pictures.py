"""Tasks for models of texts and pictures: to write, to paint, to look, to tell.

The pictures are any collection of drawings with names, such as the emoji; a *drawing* may be shared
by several of them.

Shapes: R rows asked about, G different drawings of a style, H and W pixels, P numbers of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

import numpy as np

from loopwright.core.digest import Json
from loopwright.core.words import normal, word_f1
from loopwright.models.wudao.sample import FAMILY, Painting, Prompt, TextPictureModel
from loopwright.train.evaluate.run import Evaluation, evaluate
from loopwright.train.evaluate.task import Item, Metric, Task

CAPTIONS, PAINTINGS, GROUNDING, PICTURES = "captions", "paintings", "grounding", "pictures"

CaptionTask = Task[TextPictureModel, str]
PaintingTask = Task[TextPictureModel, np.ndarray]
GroundingTask = Task[TextPictureModel, tuple[float, float]]


class NamedPictures(Protocol):
    """Drawings with names; N rows."""

    @property
    def pixels(self) -> np.ndarray:
        """uint8 ``(N, H, W, 3)``."""
        ...

    @property
    def picture(self) -> np.ndarray:
        """Integers ``(N,)``: equal for rows with the very same pixels."""
        ...

    @property
    def hexcode(self) -> np.ndarray:
        """Object ``(N,)`` of str: what it is, in whatever style; the group of a row."""
        ...

    @property
    def style(self) -> np.ndarray:
        """Object ``(N,)`` of str."""
        ...

    def labels(self, language: str = "en") -> np.ndarray:
        """Return the name of each row in a language, object ``(N,)`` of str."""
        ...


def captions(emoji: NamedPictures, rows: Sequence[int] | np.ndarray, language: str) -> CaptionTask:
    """Return the task to write the name of each picture.

    ``exact`` is the whole name, ``keyword_f1`` how many of its words.
    """

    def ask(model: TextPictureModel, items: Sequence[Item], seed: int) -> list[str]:
        return model.write(_pixels(items), language=language)

    return Task(
        name=CAPTIONS,
        version=1,
        family=FAMILY,
        items=_items(emoji, rows, language),
        metrics=(Metric(name="exact", unit="share"), Metric(name="keyword_f1", unit="share")),
        ask=ask,
        verify=_judge_caption,
        settings={"language": language},
        batch=128,
    )


def paintings(
    emoji: NamedPictures,
    rows: Sequence[int] | np.ndarray,
    language: str = "en",
    *,
    how: Painting | None = None,
    tries: int = 1,
) -> PaintingTask:
    """Return the task to paint a picture of each name, judged by retrieval.

    ``top_1`` asks whether, of all drawings of the style, the wanted one is nearest in pixels;
    ``top_5`` whether it is among the nearest five.

    Args:
        emoji: All that may be retrieved.
        rows: What to paint.
        language: Of the names.
        how: Temperature and guidance.
        tries: Pictures of which the model keeps the one that it finds most like its name.
    """
    chosen = how or Painting()
    galleries = {style: Gallery(emoji, style) for style in set(emoji.style[np.asarray(rows)])}

    def ask(model: TextPictureModel, items: Sequence[Item], seed: int) -> list[np.ndarray]:
        return list(model.paint(_prompts(items), seed=seed, how=chosen, tries=tries))

    def verify(item: Item, painted: np.ndarray) -> dict[str, float]:
        nearest = galleries[_text(item, "style")].nearest(painted, 5)
        wanted = item.facts["drawing"]
        return {"top_1": float(nearest[0] == wanted), "top_5": float(wanted in nearest)}

    return Task(
        name=PAINTINGS,
        version=1,
        family=FAMILY,
        items=_items(emoji, rows, language),
        metrics=(Metric(name="top_1", unit="share"), Metric(name="top_5", unit="share")),
        ask=ask,
        verify=verify,
        settings={"language": language, "tries": tries, **asdict(chosen)},
        batch=128,
    )


def grounding_gap(
    emoji: NamedPictures, rows: Sequence[int] | np.ndarray, language: str = "en"
) -> GroundingTask:
    """Return the task that asks what a name is worth to the model that paints.

    ``gap`` is ``without_text`` less ``with_text``, in nats a code of the true picture. A model that
    ignores the text has none.
    """

    def ask(model: TextPictureModel, items: Sequence[Item], seed: int) -> list[tuple[float, float]]:
        prompts, codes = _prompts(items), model.encode(_pixels(items))
        without = model.code_nats(prompts, codes, without_text=True)
        given = model.code_nats(prompts, codes)
        return list(zip(without.tolist(), given.tolist(), strict=True))

    return Task(
        name=GROUNDING,
        version=1,
        family=FAMILY,
        items=_items(emoji, rows, language),
        metrics=tuple(
            Metric(name=name, unit="nats a code") for name in ("gap", "without_text", "with_text")
        ),
        ask=ask,
        verify=lambda item, nats: {
            "gap": nats[0] - nats[1],
            "without_text": nats[0],
            "with_text": nats[1],
        },
        settings={"language": language},
    )


def reconstructions(emoji: NamedPictures, rows: Sequence[int] | np.ndarray) -> PaintingTask:
    """Return the task to bring each picture back from its codes.

    ``psnr`` is that of the mean squared error of all pictures, which a few bad ones lower more than
    they would lower the mean of their PSNRs.
    """

    def ask(model: TextPictureModel, items: Sequence[Item], seed: int) -> list[np.ndarray]:
        return list(model.decode(model.encode(_pixels(items))))

    return Task(
        name=PICTURES,
        version=1,
        family=FAMILY,
        items=_items(emoji, rows, None),
        metrics=(Metric(name="psnr", unit="dB", of_mean=_decibels),),
        ask=ask,
        verify=lambda item, seen: {"psnr": _squared_error(_pixels([item])[0], seen)},
        batch=256,
    )


def score_captions(
    model: TextPictureModel,
    emoji: NamedPictures,
    rows: Sequence[int] | np.ndarray,
    language: str = "en",
) -> Evaluation:
    """Return how often, and how nearly, a model writes the name of each picture; see above."""
    return evaluate(captions(emoji, rows, language), model)


def score_paintings(
    model: TextPictureModel,
    emoji: NamedPictures,
    rows: Sequence[int] | np.ndarray,
    seed: int = 0,
    how: Painting | None = None,
    tries: int = 1,
    language: str = "en",
) -> Evaluation:
    """Return how often what a model paints of a name is nearest to the right picture."""
    return evaluate(paintings(emoji, rows, language, how=how, tries=tries), model, seed=seed)


def score_pictures(
    model: TextPictureModel, emoji: NamedPictures, rows: Sequence[int] | np.ndarray
) -> Evaluation:
    """Return how well pictures come back from their codes."""
    return evaluate(reconstructions(emoji, rows), model)


def grounding(
    model: TextPictureModel,
    emoji: NamedPictures,
    rows: Sequence[int] | np.ndarray,
    language: str = "en",
) -> Evaluation:
    """Return how many nats a code the name of a picture saves."""
    return evaluate(grounding_gap(emoji, rows, language), model)


class Gallery:
    """Every different drawing of a style, to be found by its pixels."""

    def __init__(self, emoji: NamedPictures, style: str) -> None:
        """Take the drawings of a style, each once."""
        rows = np.flatnonzero(emoji.style == style)
        self.drawing_G, first_G = np.unique(emoji.picture[rows], return_index=True)
        pixel_GP = emoji.pixels[rows[first_G]].reshape(len(first_G), -1)
        self._pixel_GP = pixel_GP.astype(np.float32) / 255
        self._square_G = np.einsum("gp,gp->g", self._pixel_GP, self._pixel_GP)

    def nearest(self, image_HWC: np.ndarray, count: int) -> list[int]:
        """Return the drawings nearest to a picture by squared distance, nearest first."""
        pixel_P = image_HWC.reshape(-1).astype(np.float32) / 255
        distance_G = self._square_G - 2 * (self._pixel_GP @ pixel_P)
        return self.drawing_G[np.argsort(distance_G, kind="stable")[:count]].tolist()


def _items(
    emoji: NamedPictures, rows: Sequence[int] | np.ndarray, language: str | None
) -> tuple[Item, ...]:
    labels = emoji.labels(language).tolist() if language else [""] * len(emoji.hexcode)
    hexcodes, styles = emoji.hexcode.tolist(), emoji.style.tolist()
    return tuple(
        Item(
            id="/".join([hexcodes[row], styles[row], *([language] if language else [])]),
            group=hexcodes[row],
            text=labels[row],
            picture=emoji.pixels[row],
            facts=_facts(int(emoji.picture[row]), styles[row], language),
        )
        for row in np.asarray(rows, int).tolist()
    )


def _facts(drawing: int, style: str, language: str | None) -> dict[str, Json]:
    return {"drawing": drawing, "style": style, **({"language": language} if language else {})}


def _text(item: Item, fact: str) -> str:
    return str(item.facts[fact])


def _prompts(items: Sequence[Item]) -> list[Prompt]:
    return [Prompt(i.text, language=_text(i, "language"), style=_text(i, "style")) for i in items]


def _pixels(items: Sequence[Item]) -> np.ndarray:
    return np.stack([item.picture for item in items if item.picture is not None])


def _judge_caption(item: Item, said: str) -> dict[str, float]:
    return {
        "exact": float(normal(said) == normal(item.text)),
        "keyword_f1": word_f1(said, item.text),
    }


def _squared_error(one_HWC: np.ndarray, other_HWC: np.ndarray) -> float:
    return float(np.mean((one_HWC.astype(float) - other_HWC.astype(float)) ** 2)) / 255**2


def _decibels(squared_error: float) -> float:
    """Return the peak signal-to-noise ratio; nothing finer than 8 bits can be told apart."""
    return -10 * math.log10(max(squared_error, 1 / (12 * 255**2)))
