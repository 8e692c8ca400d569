from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from loopwright.core.errors import VerifierError
from loopwright.models.wudao.sample import Painting, Prompt
from loopwright.train.evaluate.pictures import (
    Gallery,
    captions,
    grounding,
    score_captions,
    score_paintings,
    score_pictures,
)
from loopwright.train.evaluate.run import evaluate

NAMES = ["Red heart", "green apple: cut", "blue bus", "red bus", "heart again"]


@dataclass
class Drawings:
    """Five drawings, of which the last shares the pixels of the first."""

    pixels: np.ndarray
    picture: np.ndarray
    hexcode: np.ndarray
    style: np.ndarray

    def labels(self, language: str = "en") -> np.ndarray:
        return np.array(NAMES, object)


@pytest.fixture
def emoji() -> Drawings:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    pixels[4] = pixels[0]
    return Drawings(
        pixels=pixels,
        picture=np.array([0, 1, 2, 3, 0], np.int32),
        hexcode=np.array(["1", "2", "3", "4", "5"], object),
        style=np.array(["flat"] * 5, object),
    )


class Painter:
    """Stands in for a model: knows some names, and paints and writes what it is told to."""

    def __init__(self, emoji: Drawings, knows: set[str]) -> None:
        self.emoji, self.knows = emoji, knows
        self.seeds: list[int] = []

    def write(self, images: np.ndarray, *, language: str) -> list[str]:
        rows = [self._row(image) for image in images]
        return [NAMES[r].upper() if NAMES[r] in self.knows else "red thing" for r in rows]

    def paint(self, prompts: list[Prompt], *, seed: int, how: Painting, tries: int) -> np.ndarray:
        self.seeds.append(seed)
        found = []
        for prompt in prompts:
            image = self.emoji.pixels[NAMES.index(prompt.text)]
            noise = np.random.default_rng(seed).integers(-20, 21, image.shape)
            known = np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)
            found.append(known if prompt.text in self.knows else 255 - image)
        return np.stack(found)

    def encode(self, images: np.ndarray) -> np.ndarray:
        return np.array([[self._row(image)] for image in images])

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return np.clip(self.emoji.pixels[codes[:, 0]].astype(int) + 16, 0, 255).astype(np.uint8)

    def code_nats(self, prompts, codes, *, without_text: bool = False) -> np.ndarray:
        return np.array([2.0 if without_text or p.text not in self.knows else 0.5 for p in prompts])

    def _row(self, image: np.ndarray) -> int:
        return next(r for r in range(5) if np.array_equal(image, self.emoji.pixels[r]))


def test_an_exact_caption_may_differ_in_case_only(emoji):
    model = Painter(emoji, {"green apple: cut"})
    found = score_captions(model, emoji, [0, 1, 2], "en")  # type: ignore[arg-type]
    assert found.values["exact"].tolist() == [0, 1, 0]
    # "red thing" for "red heart": one word of two on either side.
    assert found.values["keyword_f1"].tolist() == [0.5, 1, 0]
    assert found.headline.value == pytest.approx(1 / 3)
    assert found.headline.groups == 3


def test_a_painting_is_right_if_the_wanted_drawing_is_nearest(emoji):
    model = Painter(emoji, set(NAMES[:2]))
    found = score_paintings(model, emoji, [0, 1, 2, 3], 7, Painting(), 1)  # type: ignore[arg-type]
    assert found.values["top_1"].tolist() == [1, 1, 0, 0]
    # Four drawings in all: the wanted one is always among the nearest five.
    assert found.values["top_5"].tolist() == [1, 1, 1, 1]
    again = score_paintings(model, emoji, [0, 1], 8, Painting(), 1)  # type: ignore[arg-type]
    assert again.headline.value == 1
    assert model.seeds[0] != model.seeds[1]


def test_drawings_that_are_shared_count_once_and_for_each_that_shares_them(emoji):
    gallery = Gallery(emoji, "flat")
    assert len(gallery.drawing_G) == 4
    assert gallery.nearest(emoji.pixels[4], 1) == [0]
    model = Painter(emoji, {"heart again"})
    assert score_paintings(model, emoji, [4]).values["top_1"].tolist() == [1]  # type: ignore[arg-type]


def test_the_gap_is_what_the_text_saves(emoji):
    found = grounding(Painter(emoji, set(NAMES[:1])), emoji, [0, 1])  # type: ignore[arg-type]
    assert found.values["gap"].tolist() == [1.5, 0]
    assert found.score("without_text").value == 2


def test_the_psnr_is_that_of_the_mean_squared_error(emoji):
    found = score_pictures(Painter(emoji, set()), emoji, [0, 1, 2, 3])  # type: ignore[arg-type]
    seen = np.clip(emoji.pixels[:4].astype(float) + 16, 0, 255)
    error = np.mean((seen - emoji.pixels[:4]) ** 2) / 255**2
    assert found.headline.value == pytest.approx(-10 * np.log10(error))
    assert found.headline.low <= found.headline.value <= found.headline.high
    assert found.headline.unit == "dB"


def test_the_digest_names_items_and_settings(emoji):
    task = captions(emoji, [0, 1], "en")
    assert task.digest == captions(emoji, [0, 1], "en").digest
    assert task.digest != captions(emoji, [0, 2], "en").digest
    assert task.digest != captions(emoji, [0, 1], "de").digest
    emoji.pixels = emoji.pixels.copy()
    emoji.pixels[1, 0, 0, 0] ^= 1
    assert task.digest != captions(emoji, [0, 1], "en").digest


def test_a_model_that_leaves_an_answer_out_is_named(emoji):
    model = Painter(emoji, set())
    model.write = lambda images, *, language: ["one"]  # type: ignore[method-assign]
    with pytest.raises(VerifierError, match="1 answers to 2 items"):
        evaluate(captions(emoji, [0, 1], "en"), model)  # type: ignore[arg-type]
