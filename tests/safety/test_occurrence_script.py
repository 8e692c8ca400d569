"""Scripts keep every bit of what was asked, and shorten without inventing anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData
from loopwright.safety.occurrence.script import (
    Segment,
    joined,
    keeping,
    length_of,
    shortened,
    steps_of,
    without_ages,
)

requests = st.one_of(
    st.none(),
    st.just("stop"),
    st.tuples(st.floats(width=64), st.floats(width=64)),
)
segments = st.builds(
    Segment,
    request=requests,
    steps=st.integers(1, 4),
    age_s=st.sampled_from([0.0, 0.02, 0.1]),
)
scripts = st.lists(segments, min_size=1, max_size=8).map(joined)


@given(scripts)
def test_a_script_survives_its_file_bit_by_bit(script: tuple[Segment, ...]) -> None:
    text = json.dumps([segment.to_json() for segment in script], allow_nan=False)
    again = tuple(Segment.from_json(data) for data in json.loads(text))
    assert [segment.wish for segment in again] == [segment.wish for segment in script]
    assert [segment.steps for segment in again] == [segment.steps for segment in script]


@given(scripts, st.integers(0, 40))
def test_shortening_takes_the_beginning(script: tuple[Segment, ...], steps: int) -> None:
    kept = list(steps_of(shortened(script, steps)))
    assert repr(kept) == repr(list(steps_of(script))[:steps])


@given(scripts, st.sets(st.integers(1, 8)))
def test_what_is_kept_takes_as_long_and_asks_nothing_new(
    script: tuple[Segment, ...], changes: set[int]
) -> None:
    kept = keeping(script, sorted(changes))
    assert length_of(kept) == length_of(script)
    assert {item.wish for item in kept} <= {item.wish for item in script}
    assert kept[0].wish == script[0].wish
    assert len(kept) <= 1 + len(changes)


@given(scripts)
def test_without_ages_only_the_ages_go(script: tuple[Segment, ...]) -> None:
    fresh = without_ages(script)
    assert repr([r for r, _ in steps_of(fresh)]) == repr([r for r, _ in steps_of(script)])
    assert all(age_s == 0.0 for _, age_s in steps_of(fresh))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"request": "go", "steps": 1, "age_s": 0.0},
        {"request": ["much"], "steps": 1, "age_s": 0.0},
        {"request": None, "steps": 0, "age_s": 0.0},
    ],
)
def test_what_is_no_segment_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(DamagedData):
        Segment.from_json(data)
