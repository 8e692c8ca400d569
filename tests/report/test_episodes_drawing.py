"""What is drawn of an episode: curves that hide no spike, round ticks, strips, half blocks."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.episode import Annotation, EpisodeHeader
from loopwright.core.interface import CameraSpec, Interface, VectorSpec
from loopwright.report.episodes.blocks import half_blocks, shrunk, sparkline
from loopwright.report.episodes.plots import thinned, vector_plot
from loopwright.report.episodes.story import EpisodeStory, Footage, Panel, scales
from loopwright.report.episodes.strip import frame_indices, frames_that_fit, make_strip
from loopwright.report.episodes.ticks import round_ticks
from loopwright.store.ledger import EpisodeRow

VECTOR = VectorSpec(names=("a",), units=("m",), low=(-1.0,), high=(1.0,))
HEADER = EpisodeHeader(
    scenario="s-v1",
    kind="demo",
    seed=1,
    start={},
    instruction="",
    body="robot",
    interface=Interface(
        cameras=(CameraSpec(name="front", height_px=16, width_px=16),),
        proprio=VECTOR,
        action=VECTOR,
        rate_hz=10.0,
    ),
)
ROW = EpisodeRow(
    id="e", digest="d", kind="demo", scenario="s-v1", seed=1, start={}, candidate=None, num_steps=9
)


def story(values: Any, requested: Any = None, notes: tuple[Annotation, ...] = ()) -> EpisodeStory:
    column = np.asarray(values, float)[:, None]
    asked = None if requested is None else np.asarray(requested, float)[:, None]
    panel = Panel(vector="action", unit="m", names=("a",), values=column, requested=asked)
    footage = Footage(
        header=HEADER,
        recorded_at="",
        time_s=np.arange(len(column)) / 10,
        strips=(),
        panels=(panel,),
    )
    return EpisodeStory(row=ROW, footage=footage, annotations=notes)


def drawn(one: EpisodeStory) -> str:
    return str(vector_plot(one, "action", scales([one])))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    ticks = round_ticks(low, high, most)
    assert 1 <= len(ticks) <= most
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert not any(tick == 0 and math.copysign(1, tick) < 0 for tick in ticks)


def test_one_spike_in_a_long_curve_is_drawn() -> None:
    values = np.zeros(5000)
    values[3210], values[77] = 9.0, -4.0
    kept = thinned(values)
    assert {0, 77, 3210, 4999} <= set(kept.tolist())
    assert len(kept) <= 84
    assert sorted(kept.tolist()) == kept.tolist()


def test_a_gap_in_the_data_is_a_gap_in_the_line() -> None:
    svg = drawn(story([0.0, 1.0, np.nan, np.inf, 0.5, 0.0]))
    (line,) = re.findall(r'<path d="([^"]*)" class="s0"', svg)
    assert line.count("M") == 2
    assert line.count("L") == 2
    assert "nan" not in svg
    assert "inf" not in svg


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.3, 0.3], [np.nan, np.nan]])
def test_degenerate_series_are_drawn_without_complaint(values: list[float]) -> None:
    assert "time (s)" in drawn(story(values))


def test_what_was_asked_for_is_drawn_apart_from_what_was_done() -> None:
    svg = drawn(story([0.0, 0.5, 0.5], requested=[0.0, 2.0, 2.0]))
    assert svg.count('class="asked s0"') == 1
    assert "dotted: requested" in svg


def test_a_noted_stretch_lies_where_it_was_noted() -> None:
    note = Annotation(episode="e", label="x", author="a", begin_step=5, end_step=8)
    one = story(np.zeros(11), notes=(note,))
    (x, width) = re.findall(r'<rect x="(\d+)" y="\d+" width="(\d+)"', drawn(one))[0]
    axis = 420 - 44 - 8
    assert int(x) == pytest.approx(44 + 0.5 * axis, abs=1)
    assert int(width) == pytest.approx(0.3 * axis, abs=1)


def test_a_strip_holds_the_frames_in_order_first_and_last_included() -> None:
    time_s = np.array([0.0, 0.1, 0.2, 3.0])
    assert frame_indices(time_s, 4).tolist() == [0, 2, 3, 3], "evenly in time, not in rows"
    assert frame_indices(np.array([5.0]), 3).tolist() == [0, 0, 0]
    frames = np.stack([np.full((240, 320, 3), 60 * i, np.uint8) for i in range(4)])
    strip = make_strip("front", frames)
    assert (strip.height_px, strip.width_px, strip.num_frames) == (72, 96, 4)
    with av.open(io.BytesIO(strip.jpeg)) as film:
        picture = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (72, 384, 3)
    for i in range(4):
        assert picture[:, 96 * i + 8 : 96 * i + 88].mean() == pytest.approx(60 * i, abs=3)
    assert make_strip("front", frames).jpeg == strip.jpeg
    assert 3 <= frames_that_fit(240, 4000) <= frames_that_fit(16, 16) <= 12


def test_half_blocks_show_the_pixels_in_two_colours_a_character() -> None:
    red_over_blue = np.zeros((20, 20, 3), np.uint8)
    red_over_blue[:10, :, 0] = 255
    red_over_blue[10:, :, 2] = 255
    lines = half_blocks([red_over_blue, red_over_blue], columns=81)
    assert [len(line) for line in lines] == [81] * 20
    top, bottom = lines[0].spans[1].style, lines[-1].spans[1].style
    assert "#ff0000" in str(top)
    assert "#0000ff" in str(bottom)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_shrinking_keeps_a_plain_colour_and_the_shape(h: int, w: int, rows: int, cols: int) -> None:
    small = shrunk(np.full((h, w, 3), 77, np.uint8), rows, cols)
    assert small.shape == (rows, cols, 3)
    assert (small == 77).all()


def test_a_sparkline_spans_its_range() -> None:
    assert sparkline(np.array([0.0, 0.5, 1.0]), width=9, low=0.0, high=1.0) == "▁▅█"
    assert sparkline(np.array([0.0, 0.0, 9.0, 0.0]), width=2, low=0.0, high=9.0) == "▁█"
    assert sparkline(np.array([np.nan, 2.0]), width=9, low=2.0, high=2.0) == "▁▁"
