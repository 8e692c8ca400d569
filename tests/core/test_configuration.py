from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.configuration import plain_without, read_config
from loopwright.core.errors import InvalidConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Square:
    side: int
    corners: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.side < 1:
            raise InvalidConfig(f"side is {self.side}; expected at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    shape: Round | Square = field(default_factory=Round)
    frame: Square | None = None
    name: str = "drawing"
    colour: Literal["red", "blue"] = "red"
    widths: tuple[float, ...] = ()
    filled: bool = False


def squares() -> st.SearchStrategy[Square]:
    whole = st.integers(-9, 9)
    return st.builds(Square, side=st.integers(1, 9), corners=st.tuples(whole, whole))


numbers = st.floats(-9, 9)
drawings = st.builds(
    Drawing,
    shape=squares() | st.builds(Round, radius=numbers),
    frame=st.none() | squares(),
    name=st.text(),
    colour=st.sampled_from(["red", "blue"]),
    widths=st.lists(numbers).map(tuple),
    filled=st.booleans(),
)


@given(drawings)
def test_what_was_written_is_read_back_equal(drawing: Drawing):
    assert read_config(Drawing, json.loads(json.dumps(asdict(drawing)))) == drawing
    assert read_config(Drawing, asdict(drawing)) == drawing


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"colours": "red"}, r"Drawing has the unknown keys \['colours'\]; known: \['shape'"),
        ({"frame": {"sides": 4}}, r"frame has the unknown keys \['sides'\]"),
        ({"frame": {}}, r"frame lacks the keys \['side'\]"),
        ({"frame": 3}, "frame is 3; expected the settings of a Square"),
        ({"frame": {"side": "4"}}, r"frame\.side is '4'; expected a whole number"),
        ({"frame": {"side": 4.0}}, r"frame\.side is 4\.0; expected a whole number"),
        ({"frame": {"side": True}}, r"frame\.side is True; expected a whole number"),
        ({"frame": {"side": None}}, r"frame\.side is None; expected a whole number"),
        ({"frame": {"side": 0}}, "frame: side is 0; expected at least 1"),
        ({"frame": {"side": 1, "corners": [1]}}, r"frame\.corners has 1 values; expected 2"),
        ({"shape": {"side": 2, "radius_px": 3}}, r"shape has the unknown keys \['radius_px'\]"),
        ({"shape": None}, "shape is None; expected the settings"),
        ({"colour": "green"}, "colour is 'green'; expected one of 'red', 'blue'"),
        ({"colour": ["red"]}, "colour is .*; expected one of"),
        ({"widths": [1, "2"]}, r"widths\[1\] is '2'; expected a number"),
        ({"widths": "12"}, "widths is '12'; expected a list"),
        ({"filled": 1}, "filled is 1; expected true or false"),
        ({"name": None}, "name is None; expected a text"),
        ([], r"Drawing is \[\]; expected the settings of a Drawing"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(data: Any, message: str):
    with pytest.raises(InvalidConfig, match=message):
        read_config(Drawing, data)


def test_what_does_not_count_is_left_out_of_a_comparison():
    assert plain_without(Square(side=2, corners=(1, 0)), ["side"]) == {"corners": (1, 0)}
