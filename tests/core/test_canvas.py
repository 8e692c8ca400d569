from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.canvas import (
    PaintRequest,
    canvas_interface,
    is_canvas,
    picture_of,
    rows_of,
)
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import NO_BODY, Interface

WORDS = st.text(st.characters(exclude_characters="(),:", exclude_categories=("C",)), min_size=1)


@given(st.integers(0, 2**32 - 1))
def test_a_picture_comes_back_from_the_actions_that_paint_it(seed: int):
    picture = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    rows = canvas_interface(16).check_chunk(rows_of(picture))
    assert rows.shape == (16, 48)
    assert np.array_equal(picture_of(rows), picture)


def test_half_a_picture_is_refused():
    with pytest.raises(InvalidConfig, match="8 rows"):
        picture_of(np.zeros((8, 48)))


@given(st.text(min_size=1), WORDS, WORDS)
def test_a_request_survives_its_instruction(text: str, language: str, style: str):
    request = PaintRequest(text, language, style)
    assert PaintRequest.from_instruction(request.to_instruction()) == request


@pytest.mark.parametrize("instruction", ["press the button", "paint (en): x", "paint (en, a): "])
def test_another_instruction_is_refused(instruction: str):
    with pytest.raises(InvalidConfig, match="asks for no picture"):
        PaintRequest.from_instruction(instruction)


def test_a_canvas_is_known_by_its_interface():
    interface = canvas_interface(16)
    assert is_canvas(interface)
    assert is_canvas(Interface.from_json(interface.to_json()))
    assert not is_canvas(NO_BODY)
