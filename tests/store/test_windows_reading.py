"""Windows equal what a whole episode holds, whatever was read before and however it is asked."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_episodes import INTERFACE, make_episode
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.episode import Episode
from loopwright.core.errors import ContractError, InvalidConfig, UnknownName
from loopwright.core.interface import CameraSpec
from loopwright.store.episodes import DamagedEpisode, read_episode, write_episode
from loopwright.store.ledger import EpisodeRow
from loopwright.store.video import KEYFRAME_INTERVAL
from loopwright.store.windows import COLUMNS, Window, WindowReader
from loopwright.store.workspace import Workspace

LENGTHS = (1, 2 * KEYFRAME_INTERVAL + 3, KEYFRAME_INTERVAL, 35)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Episodes of several lengths: one step, over keyframes, exactly one keyframe interval."""
    with Workspace.create(tmp_path_factory.mktemp("windows") / "ws") as workspace:
        yield Library(workspace, LENGTHS)


class Library:
    """A workspace with episodes, and what is in them."""

    def __init__(self, workspace: Workspace, lengths: Sequence[int]) -> None:
        self.workspace = workspace
        self.ids = [
            write_episode(workspace, make_episode(seed=seed, num_steps=steps)).id
            for seed, steps in enumerate(lengths)
        ]
        self.whole = {identity: read_episode(workspace, identity) for identity in self.ids}

    def reader(self, **changes: object) -> WindowReader:
        settings: dict = {"columns": COLUMNS, **changes}
        return WindowReader(self.workspace, self.ids, **settings)


def assert_window(
    window: Window, whole: Episode, frame_offsets: Sequence[int], row_offsets: Sequence[int]
) -> None:
    last = whole.num_steps - 1
    frames = [window.step + offset for offset in frame_offsets]
    rows = [window.step + offset for offset in row_offsets]
    assert window.frames_inside.tolist() == [0 <= frame <= last for frame in frames]
    assert window.rows_inside.tolist() == [0 <= row <= last for row in rows]
    for camera, images in whole.images.items():
        expected = images[[min(max(frame, 0), last) for frame in frames]]
        assert window.images[camera].dtype == np.uint8
        assert np.array_equal(window.images[camera], expected)
    for name, found in window.columns.items():
        expected = getattr(whole, name)[[min(max(row, 0), last) for row in rows]]
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


offsets = st.lists(st.integers(-50, 50), min_size=1, max_size=6)


@given(frame_offsets=offsets, row_offsets=offsets, data=st.data())
@settings(max_examples=40)
def test_a_window_equals_that_of_the_whole_episode(
    library: Library, frame_offsets: list[int], row_offsets: list[int], data: st.DataObject
) -> None:
    with library.reader(frame_offsets=frame_offsets, row_offsets=row_offsets) as reader:
        assert len(reader) == sum(LENGTHS)
        indices = st.lists(st.integers(0, len(reader) - 1), min_size=1, max_size=12)
        for index in data.draw(indices):
            window = reader.read(index)
            episode, step = reader.place(index)
            assert (window.episode, window.step) == (library.ids[episode], step)
            assert_window(window, library.whole[window.episode], frame_offsets, row_offsets)


@pytest.mark.parametrize("open_episodes", [1, 64])
def test_every_window_in_order_is_right(library: Library, open_episodes: int) -> None:
    ahead = (-1, 0, KEYFRAME_INTERVAL + 1)
    with library.reader(
        frame_offsets=ahead, row_offsets=range(-2, 17), open_episodes=open_episodes
    ) as reader:
        windows = list(reader)
    assert [(w.episode, w.step) for w in windows] == [
        (identity, step)
        for identity in library.ids
        for step in range(len(library.whole[identity].time_s))
    ]
    for window in windows:
        assert_window(window, library.whole[window.episode], ahead, range(-2, 17))


def test_no_more_episodes_stay_open_than_allowed(library: Library) -> None:
    with library.reader(open_episodes=2) as reader:
        before = num_open_files()
        for index in np.random.default_rng(0).integers(0, len(reader), 60):
            window = reader.read(int(index))
            assert_window(window, library.whole[window.episode], (0,), (0,))
            assert num_open_files() - before <= 2 * len(INTERFACE.cameras)
    assert num_open_files() == before


def num_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_a_caller_does_to_a_window_stays_his(library: Library) -> None:
    with library.reader(frame_offsets=(0, 0), row_offsets=(0, 0)) as reader:
        index = reader.index(library.ids[1], 5)
        spoilt = reader.read(index)
        for values in (*spoilt.images.values(), *spoilt.columns.values()):
            values[:] = 0
        assert_window(reader.read(index), library.whole[library.ids[1]], (0, 0), (0, 0))


def test_a_time_is_located_at_the_nearest_step(library: Library) -> None:
    with library.reader() as reader:
        for identity, whole in library.whole.items():
            period_s = 1 / INTERFACE.rate_hz
            for step, time_s in enumerate(whole.time_s):
                for shift in (-0.4, 0, 0.4):
                    index = reader.locate(identity, time_s + shift * period_s)
                    assert index == reader.index(identity, step)
                    assert reader.read(index).columns["time_s"] == time_s
            for outside in (-0.6 * period_s, whole.time_s[-1] + 0.6 * period_s, np.nan, np.inf):
                with pytest.raises(InvalidConfig, match="no step at"):
                    reader.locate(identity, outside)


def test_cameras_and_columns_are_those_asked_for(library: Library) -> None:
    with library.reader(cameras=("wrist",), columns=()) as reader:
        window = reader.read(3)
        assert window.images.keys() == {"wrist"}
        assert window.columns == {}
    with library.reader(cameras=("rear",)) as reader, pytest.raises(InvalidConfig, match="front"):
        reader.read(3)


def test_a_video_has_images_and_times_only(workspace: Workspace) -> None:
    rows = [
        write_episode(workspace, make_episode(kind=kind, num_steps=6)) for kind in ("demo", "video")
    ]
    ids = [row.id for row in rows]
    whole = read_episode(workspace, ids[1])
    with WindowReader(workspace, ids, frame_offsets=(0, 3)) as reader:
        assert_window(reader.read(6 + 4), whole, (0, 3), (0,))
    for column in COLUMNS[1:]:
        with pytest.raises(ContractError, match=rf"{ids[1]} is a video.*{column}"):
            WindowReader(workspace, ids, columns=("time_s", column))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"columns": ("aplied",)}, UnknownName),
        ({"columns": ("applied", "applied")}, InvalidConfig),
        ({"cameras": ("front", "front")}, InvalidConfig),
        ({"open_episodes": 0}, InvalidConfig),
    ],
)
def test_impossible_settings_are_refused(
    library: Library, changes: dict, error: type[Exception]
) -> None:
    with pytest.raises(error):
        library.reader(**changes)


def test_an_episode_or_step_that_is_not_there_is_named(library: Library) -> None:
    with pytest.raises(UnknownName, match="abc"):
        WindowReader(library.workspace, [library.ids[0], "abc"])
    with pytest.raises(InvalidConfig, match="come again"):
        WindowReader(library.workspace, [library.ids[0]] * 2)
    with library.reader() as reader:
        for index in (-1, len(reader)):
            with pytest.raises(InvalidConfig, match="no step"):
                reader.read(index)
        for step in (-1, LENGTHS[1]):
            with pytest.raises(InvalidConfig, match="no step"):
                reader.index(library.ids[1], step)
        with pytest.raises(UnknownName):
            reader.locate("abc", 0.0)


def sums(reader: WindowReader, indices: Sequence[int]) -> list[int]:
    """Read windows in another process."""
    return [sum(int(i.sum()) for i in reader.read(index).images.values()) for index in indices]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_two_processes_read_at_once_what_one_reads(library: Library, start: str) -> None:
    with library.reader(frame_offsets=(0, 7)) as reader:
        draw = np.random.default_rng(1)
        tasks = [draw.integers(0, len(reader), 40).tolist() for _ in range(4)]
        expected = [sums(reader, task) for task in tasks]  # with files open that a fork inherits
        context = multiprocessing.get_context(start)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            found = list(pool.map(sums, [reader] * len(tasks), tasks))
        assert found == expected


def test_forked_children_use_the_very_files_their_parent_opened(library: Library) -> None:
    """No pickle between them: positions of inherited files must not be shared."""
    with library.reader(frame_offsets=(0, 7)) as reader:
        tasks = [np.random.default_rng(n).permutation(len(reader)).tolist() for n in range(3)]
        expected = [sums(reader, task) for task in tasks]
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        children = [
            context.Process(target=lambda n=n: queue.put((n, sums(reader, tasks[n]))))
            for n in (1, 2)
        ]
        for child in children:
            child.start()
        assert sums(reader, tasks[0]) == expected[0]
        assert dict([queue.get(), queue.get()]) == {1: expected[1], 2: expected[2]}
        for child in children:
            child.join()


def test_a_pickle_holds_no_episode_and_needs_no_ledger(library: Library, tmp_path: Path) -> None:
    with library.reader(columns=("applied",)) as reader:
        reader.read(5)
        copy = pickle.loads(pickle.dumps(reader))
        shutil.copytree(library.workspace.episodes_folder, tmp_path / "episodes")
        copy._folder = tmp_path / "episodes"
        with copy:
            window = copy.read(5)
        assert np.array_equal(window.columns["applied"], reader.read(5).columns["applied"])


def test_cameras_of_different_sizes_and_episodes_of_different_robots(workspace: Workspace) -> None:
    other = replace(INTERFACE, cameras=(CameraSpec(name="side", height_px=50, width_px=34),))
    ids = [
        write_episode(workspace, make_episode(num_steps=12, **changes)).id
        for changes in ({"seed": 1}, {"seed": 2, "interface": other})
    ]
    with WindowReader(workspace, ids, frame_offsets=(-1, 0), columns=COLUMNS) as reader:
        shapes = [{n: i.shape[1:3] for n, i in w.images.items()} for w in (reader[0], reader[12])]
        assert shapes == [{"front": (64, 64), "wrist": (32, 48)}, {"side": (50, 34)}]
        for window in reader:
            assert_window(window, read_episode(workspace, window.episode), (-1, 0), (0,))


def test_opening_touches_no_file_of_an_episode(tmp_path: Path) -> None:
    """Thousands of episodes that the ledger knows and the disk lacks can be opened."""
    with Workspace.create(tmp_path / "ws") as workspace:
        real = write_episode(workspace, make_episode(num_steps=4))
        rows = [replace(real, id=f"{n:020x}", num_steps=n % 7 + 1) for n in range(300)]
        for row in rows:
            workspace.ledger.add_episode(row)
        program = _OPENING.format(root=str(tmp_path / "ws"), ids=[real.id, *(r.id for r in rows)])
        said = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        ).stdout.split()
        assert said == [str(4 + sum(row.num_steps for row in rows)), "untouched", "touched"]
        check_missing(workspace, rows[0])


def check_missing(workspace: Workspace, row: EpisodeRow) -> None:
    with WindowReader(workspace, [row.id]) as reader, pytest.raises(DamagedEpisode, match=row.id):
        reader.read(0)


_OPENING = """
import sys
from pathlib import Path
from loopwright.store.windows import WindowReader
from loopwright.store.workspace import Workspace

root = Path({root!r})
touched = []
def watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and "episodes" in str(arguments[0]):
        touched.append(arguments[0])
sys.addaudithook(watch)
with Workspace.open(root) as workspace, WindowReader(workspace, {ids!r}) as reader:
    print(len(reader))
    print("touched" if touched else "untouched")
    reader.read(0)
    print("touched" if touched else "untouched")
"""
