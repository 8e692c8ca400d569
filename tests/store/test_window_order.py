"""The shuffled order: every step once, from few episodes at a time, well mixed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from drawn_episodes import make_episode
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidConfig
from loopwright.store import windows
from loopwright.store.episodes import write_episode
from loopwright.store.window_order import shuffled_steps
from loopwright.store.windows import WindowReader
from loopwright.store.workspace import Workspace


def begins_of(lengths: list[int]) -> list[int]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(int).tolist()


def places_of(order: list[int], begins: list[int]) -> list[int]:
    return (np.searchsorted(begins, order, side="right") - 1).tolist()


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    at_once=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_every_step_comes_once_from_a_bounded_number_of_episodes(
    lengths: list[int], at_once: int, seed: int
) -> None:
    begins = begins_of(lengths)
    order = list(shuffled_steps(begins, at_once=at_once, seed=seed))
    assert sorted(order) == list(range(sum(lengths)))
    left, begun = dict(enumerate(lengths)), set[int]()
    for place in places_of(order, begins):
        begun.add(place)
        assert len(begun) <= at_once
        left[place] -= 1
        if not left[place]:
            begun.remove(place)
    assert order == list(shuffled_steps(begins, at_once=at_once, seed=seed))


@pytest.mark.parametrize("lengths", [[150] * 60, [20, 60, 200] * 30])
def test_all_batches_are_mixed_the_last_one_too(lengths: list[int]) -> None:
    begins = begins_of(lengths)
    orders = [list(shuffled_steps(begins, at_once=16, seed=seed)) for seed in range(5)]
    assert len({tuple(order[:9]) for order in orders}) == 5
    for order in orders:
        places = places_of(order, begins)
        batches = [places[i : i + 64] for i in range(0, len(places) - 64, 64)]
        assert min(len(set(batch)) for batch in batches) >= 8
        assert max(max(Counter(batch).values()) for batch in batches) <= 40


def test_each_episode_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Counter[str]()

    class Counted(windows._OpenEpisode):
        def __init__(self, checked, cameras) -> None:
            opened[checked.description.id] += 1
            super().__init__(checked, cameras)

    monkeypatch.setattr(windows, "_OpenEpisode", Counted)
    with Workspace.create(tmp_path / "ws") as workspace:
        ids = [write_episode(workspace, make_episode(seed=s, num_steps=9)).id for s in range(8)]
        with WindowReader(workspace, ids, open_episodes=4) as reader:
            seen = [reader.read(index) for index in reader.shuffled(seed=1, at_once=2)]
            assert {(w.episode, w.step) for w in seen} == {(e, s) for e in ids for s in range(9)}
            assert set(opened.values()) == {1}
            for wrong in (0, 3):
                with pytest.raises(InvalidConfig, match="open_episodes"):
                    reader.shuffled(seed=1, at_once=wrong)
