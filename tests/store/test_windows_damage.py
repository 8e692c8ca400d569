"""What is damaged is never returned, whenever it was damaged, and the episode is named."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_episodes import make_episode
from test_windows_reading import assert_window

from loopwright.core.digest import digest_file
from loopwright.core.errors import DamagedData
from loopwright.store.checked_file import CheckedFile
from loopwright.store.episodes import DamagedEpisode, read_episode, write_episode
from loopwright.store.ledger import EpisodeRow
from loopwright.store.video import FilmWriter
from loopwright.store.windows import COLUMNS, WindowReader
from loopwright.store.workspace import Workspace

FILES = ("episode.json", "data.parquet", "front.mp4", "wrist.mp4")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_unseen(path: Path) -> None:
    """Flip a bit as a failing disk does: in place, and the time of change stays."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)[0]
        file.seek(status.st_size // 2)
        file.write(bytes([byte ^ 0x10]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def rows(workspace: Workspace) -> list[EpisodeRow]:
    return [write_episode(workspace, make_episode(seed=seed)) for seed in (1, 2)]


def reader_of(workspace: Workspace, rows: list[EpisodeRow], **changes: object) -> WindowReader:
    settings: dict = {"columns": COLUMNS, "frame_offsets": (0, 9), **changes}
    return WindowReader(workspace, [row.id for row in rows], **settings)


@pytest.mark.parametrize("harm", [flip, cut, flip_unseen, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_names_its_episode_and_leaves_the_others(
    workspace: Workspace, rows: list[EpisodeRow], name: str, harm: Callable[[Path], None]
) -> None:
    harm(workspace.episodes_folder / rows[0].id / name)
    with reader_of(workspace, rows) as reader:
        for _ in range(2):
            with pytest.raises(DamagedEpisode, match=name.replace(".", r"\.")) as caught:
                reader.read(3)
            assert caught.value.episode == rows[0].id
        assert_window(reader.read(28), read_episode(workspace, rows[1].id), (0, 9), (0,))


@pytest.mark.parametrize("harm", [flip, cut, flip_unseen, Path.unlink])
@pytest.mark.parametrize("name", FILES[1:])
def test_damage_between_two_openings_is_noticed(
    workspace: Workspace, rows: list[EpisodeRow], name: str, harm: Callable[[Path], None]
) -> None:
    """A film that was checked once and closed again is read in parts: those are checked too."""
    with reader_of(workspace, rows, open_episodes=1) as reader:
        reader.read(3)
        reader.read(28)  # closes the first one
        harm(workspace.episodes_folder / rows[0].id / name)
        with pytest.raises(DamagedEpisode) as caught:
            list(reader)
        assert caught.value.episode == rows[0].id


class MiscountingWriter(FilmWriter):
    """Writes the first frame more or less often than once."""

    times = 2

    def write(self, image: np.ndarray) -> None:
        for _ in range(self.times):
            super().write(image)
        self.times = 1


@pytest.mark.parametrize(("times", "message"), [(2, "more frames"), (0, "24 frames")])
def test_a_film_of_another_length_than_its_episode_is_noticed_at_the_first_window(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, times: int, message: str
) -> None:
    monkeypatch.setattr("loopwright.store.recording.FilmWriter", MiscountingWriter)
    monkeypatch.setattr(MiscountingWriter, "times", times)
    row = write_episode(workspace, make_episode(num_steps=25))
    with reader_of(workspace, [row], frame_offsets=(0,)) as reader:
        for _ in range(2):
            with pytest.raises(DamagedEpisode, match=rf"front\.mp4 has {message}, expected 25"):
                reader.read(2)


def test_a_film_that_is_damaged_while_it_is_open_gives_no_wrong_image(
    workspace: Workspace,
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (25, 64, 64, 3)).astype(np.uint8)
    drawn = make_episode()
    row = write_episode(workspace, replace(drawn, images={**drawn.images, "front": noise}))
    rows = [row]  # its film is longer than the block that is kept in memory
    whole = read_episode(workspace, rows[0].id)
    with reader_of(workspace, rows) as reader:
        reader.read(0)
        flip_unseen(workspace.episodes_folder / rows[0].id / "front.mp4")
        for step in np.random.default_rng(0).permutation(25):
            # What had been read and checked before may still be given.
            with contextlib.suppress(DamagedEpisode):
                assert_window(reader.read(int(step)), whole, (0, 9), (0,))
        with pytest.raises(DamagedEpisode, match=r"front\.mp4"):
            list(reader)


def test_an_episode_with_another_digest_than_the_ledger_has_is_refused(
    workspace: Workspace, rows: list[EpisodeRow], tmp_path: Path
) -> None:
    with Workspace.create(tmp_path / "elsewhere") as elsewhere:
        other = write_episode(elsewhere, make_episode(seed=1, num_steps=24))
        assert other.id == rows[0].id
        reader = reader_of(workspace, rows)
        reader._folder = elsewhere.episodes_folder
        with reader, pytest.raises(DamagedEpisode, match="ledger"):
            reader.read(0)


def test_a_checked_file_gives_any_part_of_what_was_written(tmp_path: Path) -> None:
    path, data = tmp_path / "file", np.random.default_rng(0).bytes(300_000)
    path.write_bytes(data)
    proof = None
    for _ in range(2):
        with CheckedFile(path, digest_file(path), proof) as file:
            proof = file.proof
            assert file.read() == data
            for begin in (0, 65_535, 65_536, 131_071, 299_999, 300_000, 400_000):
                assert file.seek(begin) == begin
                found = b"".join(iter(lambda: file.read(40_000), b""))
                assert found == data[begin:]
            assert file.seek(-10, os.SEEK_END) == 299_990
            assert file.seek(4, os.SEEK_CUR) == file.tell() == 299_994


def test_a_checked_file_notices_a_flip_in_any_block(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for size in (1, 65_536, 65_537, 200_000):
        path.write_bytes(np.random.default_rng(0).bytes(size))
        with CheckedFile(path, digest_file(path)) as file:
            proof = file.proof
        flip_unseen(path)
        with CheckedFile(path, "0" * 64, proof) as file, pytest.raises(DamagedData, match="since"):
            file.read()


def test_an_empty_checked_file_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with CheckedFile(path, digest_file(path)) as file:
        assert file.read() == b""
