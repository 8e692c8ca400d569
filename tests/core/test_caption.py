"""A text as an action: what is written is what is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.caption import (
    TEXT_BYTES,
    CaptionRequest,
    action_of,
    caption_interface,
    text_of,
)
from loopwright.core.errors import InvalidConfig

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@given(TEXTS)
def test_a_text_is_read_as_it_was_written_as_far_as_there_is_room(text: str):
    action = caption_interface(16).action.clip(action_of(text)[0])
    read = text_of(action)
    assert text.startswith(read)
    if len(text.encode()) <= TEXT_BYTES:
        assert read == text
    else:  # no letter is cut in two
        assert len(read.encode()) > TEXT_BYTES - 4


@pytest.mark.parametrize(
    "numbers",
    [
        np.full(TEXT_BYTES, 200.0),
        np.full(TEXT_BYTES, -1.0),
        np.full(TEXT_BYTES, np.nan),
        np.zeros(3),
    ],
)
def test_numbers_that_are_no_text_are_refused(numbers: np.ndarray):
    with pytest.raises(InvalidConfig):
        text_of(numbers)


@given(st.text(min_size=1))
def test_a_request_is_read_as_it_was_written(language: str):
    request = CaptionRequest(language)
    assert CaptionRequest.from_instruction(request.to_instruction()) == request
