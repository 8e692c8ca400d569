from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import InvalidConfig
from loopwright.train.evaluate.contamination import RUN_WORDS, Examples, check
from loopwright.train.evaluate.task import Item


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def item(text: str = "", drawn: np.ndarray | None = None) -> Item:
    return Item(id=text or "picture", group="g", text=text, picture=drawn)


TRAINED = Examples(
    texts=[["red heart", "rotes Herz"], ["blue bus"]], pictures=np.stack([picture(0), picture(1)])
)


class TestPictures:
    def test_an_item_is_learned_if_one_example_shows_all_of_it(self):
        found = check([item("Red  HEART", picture(0)), item("rotes herz", picture(0))], [TRAINED])
        assert found.learned == ("Red  HEART", "rotes herz")
        assert not found.is_clean

    def test_seen_parts_that_were_never_shown_together_are_counted_but_not_learned(self):
        found = check([item("blue bus", picture(0))], [TRAINED])
        assert (found.text_exact, found.picture_exact) == (1, 1)
        assert found.is_clean

    def test_a_picture_that_looks_the_same_counts_and_another_does_not(self):
        near = np.clip(picture(0).astype(int) + 3, 0, 255).astype(np.uint8)
        found = check([item("red heart", near), item("blue bus", picture(2))], [TRAINED])
        assert (found.picture_exact, found.picture_near) == (0, 1)
        assert found.learned == ("red heart",)

    def test_a_picture_without_a_text_is_learned_alone(self):
        assert check([item("", picture(1))], [TRAINED]).learned == ("picture",)

    def test_pictures_of_another_size_cannot_be_held_against_each_other(self):
        found = check([item("red heart", np.zeros((4, 4, 3), np.uint8))], [TRAINED])
        assert found.picture_near == 0


class TestTexts:
    LONG = " ".join(f"word{i}" for i in range(30))

    def test_half_of_the_runs_of_words_is_enough(self):
        words = self.LONG.split()
        # Of 23 runs of eight words eleven are kept, then twelve.
        kept = " ".join(words[: 10 + RUN_WORDS]) + " but then it goes on in another way"
        assert check([item(self.LONG)], [Examples.of_text(kept)]).text_overlap == 0
        more = " ".join(words[: 11 + RUN_WORDS]) + " but then it goes on in another way"
        found = check([item(self.LONG)], [Examples.of_text(more)])
        assert (found.text_exact, found.text_overlap) == (0, 1)
        assert found.learned == (self.LONG,)

    def test_a_short_text_counts_where_its_words_stand_in_a_row(self):
        source = Examples.of_text("I saw a Blue, Bus yesterday")
        assert check([item("blue bus")], [source]).learned == ("blue bus",)
        assert check([item("bus blue")], [source]).is_clean

    def test_a_conversation_is_looked_for_whole(self):
        lines = Examples.of_json_lines(
            json.dumps({"messages": [{"role": "user", "content": "capital of France?"}]})
            + "\n"
            + json.dumps({"messages": [{"role": "assistant", "content": "Paris"}]})
        )
        asked = Item(id="1", group="1", text="Paris", trace="What is the capital of Peru?\nParis")
        assert check([asked], [lines]).is_clean
        assert check([item("Paris")], [lines]).learned == ("Paris",)

    def test_a_torn_line_is_named(self):
        with pytest.raises(InvalidConfig, match="line 2"):
            Examples.of_json_lines('{"text": "fine"}\n{"text": ')

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=40).map(" ".join))
    def test_what_is_inside_what_was_learned_is_found(self, text: str):
        assert not check([item(text)], [Examples.of_text(f"before {text} after")]).is_clean


def test_what_could_not_be_looked_at_is_named():
    found = check([item("red heart")], [], missing=("0123",))
    assert found.is_clean
    assert not found.is_whole
