"""Batches follow from seed and step, whoever reads them and wherever a run begins."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from loopwright.core.episode import Episode, EpisodeHeader
from loopwright.core.errors import ContractError, InvalidConfig
from loopwright.core.interface import CameraSpec, Interface, VectorSpec
from loopwright.store.episodes import DamagedEpisode, write_episode
from loopwright.store.windows import WindowReader
from loopwright.store.workspace import Workspace
from loopwright.train.windows import (
    ShuffledOrder,
    WindowBatch,
    WindowBatches,
    WindowDataset,
    collate,
)

NUM_STEPS = 15
SETTINGS: dict = {
    "frame_offsets": (-1, 0),
    "row_offsets": range(4),
    "columns": ("proprio", "applied"),
}


def make_episode(seed: int, side_px: int = 32) -> Episode:
    two = VectorSpec(names=("x", "y"), units=("m", "m"), low=(-1.0,) * 2, high=(1.0,) * 2)
    cameras = tuple(
        CameraSpec(name=name, height_px=side_px, width_px=side_px) for name in ("front", "wrist")
    )
    header = EpisodeHeader(
        scenario="reach-v1",
        kind="demo",
        seed=seed,
        start={},
        instruction="reach",
        body="robot",
        interface=Interface(cameras=cameras, proprio=two, action=two, rate_hz=10.0),
    )
    random = np.random.default_rng(seed)
    numbers = random.standard_normal((3, NUM_STEPS, 2)).astype(np.float32)
    shape = (NUM_STEPS, side_px, side_px, 3)
    return Episode(
        header=header,
        images={c.name: random.integers(0, 256, shape).astype(np.uint8) for c in cameras},
        time_s=np.arange(NUM_STEPS) / 10.0,
        proprio=numbers[0],
        requested=numbers[1],
        applied=numbers[2],
        evidence=np.zeros((NUM_STEPS, 0)),
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.create(tmp_path / "ws") as made:
        yield made


@pytest.fixture
def reader(workspace: Workspace) -> Iterator[WindowReader]:
    ids = [write_episode(workspace, make_episode(seed)).id for seed in range(3)]
    with WindowReader(workspace, ids, **SETTINGS) as made:
        yield made


def assert_equal(one: WindowBatch, two: WindowBatch) -> None:
    assert one.episodes == two.episodes
    for name in ("steps_B", "frames_inside_BF", "rows_inside_BR"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    for first, second in ((one.images, two.images), (one.columns, two.columns)):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_batch_is_its_windows_side_by_side(reader: WindowReader) -> None:
    batches = WindowBatches(reader, batch_size=7, seed=3)
    batch, indices = batches.at(2), batches.order.indices(2)
    assert batch.images["front"].shape == (7, 2, 32, 32, 3)
    assert batch.columns["applied"].shape == (7, 4, 2)
    assert batch.columns["applied"].dtype == torch.float32
    for row, index in enumerate(indices):
        window = reader.read(int(index))
        assert (batch.episodes[row], int(batch.steps_B[row])) == (window.episode, window.step)
        for camera, images in window.images.items():
            assert np.array_equal(batch.images[camera][row].numpy(), images)
        for name, values in window.columns.items():
            assert np.array_equal(batch.columns[name][row].numpy(), values)
        assert np.array_equal(batch.frames_inside_BF[row].numpy(), window.frames_inside)
        assert np.array_equal(batch.rows_inside_BR[row].numpy(), window.rows_inside)


def test_workers_give_the_same_batches_and_a_run_resumes_anywhere(reader: WindowReader) -> None:
    alone = WindowBatches(reader, batch_size=10, seed=1)
    expected = list(islice(alone.run(), 9))  # 4 steps an epoch
    assert len({batch.episodes + tuple(batch.steps_B.tolist()) for batch in expected}) == 9
    helped = WindowBatches(reader, batch_size=10, seed=1, num_workers=2)
    for first in (0, 3, 5):
        for one, two in zip(islice(helped.run(first), 9 - first), expected[first:], strict=True):
            assert_equal(one, two)
        assert_equal(alone.at(first), expected[first])
    other = WindowBatches(reader, batch_size=10, seed=2).at(0)
    assert other.episodes + tuple(other.steps_B.tolist()) != expected[0].episodes + tuple(
        expected[0].steps_B.tolist()
    )


@given(num_windows=st.integers(1, 60), data=st.data(), seed=st.integers(0, 9))
def test_an_epoch_shows_no_window_twice(num_windows: int, data: st.DataObject, seed: int) -> None:
    batch_size = data.draw(st.integers(1, num_windows))
    order = ShuffledOrder(num_windows=num_windows, batch_size=batch_size, seed=seed)
    for epoch in range(2):
        first = epoch * order.steps_per_epoch
        shown = np.concatenate([order.indices(first + n) for n in range(order.steps_per_epoch)])
        assert len(set(shown.tolist())) == len(shown) == order.steps_per_epoch * batch_size
        assert shown.min() >= 0
        assert shown.max() < num_windows


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damage_stops_a_run_with_the_name_of_the_episode(
    workspace: Workspace, reader: WindowReader, num_workers: int
) -> None:
    broken = reader.episodes[1]
    path = workspace.episodes_folder / broken / "wrist.mp4"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    batches = WindowBatches(reader, batch_size=9, seed=0, num_workers=num_workers)
    with pytest.raises(DamagedEpisode, match=r"wrist\.mp4") as caught:
        list(islice(batches.run(), batches.order.steps_per_epoch))
    assert caught.value.episode == broken
    assert str(caught.value).count(broken) == 2  # once as the episode, once in the path


def test_any_loader_reads_the_dataset(reader: WindowReader) -> None:
    dataset = WindowDataset(reader)
    loader = DataLoader(dataset, batch_size=20, num_workers=2, collate_fn=collate)
    batches = list(loader)
    assert sum(len(batch.episodes) for batch in batches) == len(dataset) == 3 * NUM_STEPS
    assert_equal(batches[1], collate([reader.read(index) for index in range(20, 40)]))


def test_windows_of_different_robots_make_no_batch(workspace: Workspace) -> None:
    ids = [
        write_episode(workspace, make_episode(seed, side_px)).id
        for seed, side_px in ((1, 32), (2, 48))
    ]
    with WindowReader(workspace, ids, **SETTINGS) as reader:
        windows = [reader.read(0), reader.read(NUM_STEPS)]
    with pytest.raises(ContractError, match=rf"{ids[0]}.*{ids[1]}"):
        collate(windows)


def test_impossible_batches_are_refused(reader: WindowReader) -> None:
    for batch_size in (0, 3 * NUM_STEPS + 1):
        with pytest.raises(InvalidConfig, match="batch_size"):
            WindowBatches(reader, batch_size=batch_size, seed=0)
    with pytest.raises(InvalidConfig, match="num_workers"):
        WindowBatches(reader, batch_size=1, seed=0, num_workers=-1)
    with pytest.raises(InvalidConfig, match="step -1"):
        WindowBatches(reader, batch_size=1, seed=0).at(-1)
