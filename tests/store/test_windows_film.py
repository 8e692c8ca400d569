"""The film under the windows: whole at every write of its closing, searched when it must be."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from loopwright.store.video import (
    KEYFRAME_INTERVAL,
    Film,
    FilmWriter,
    count_whole_frames,
    cut_film,
    read_film,
)

NUM_FRAMES = 2 * KEYFRAME_INTERVAL + 2


class Journal(io.FileIO):
    """A file that remembers what was written where."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "xb")
        self.writes: list[tuple[int, bytes]] = []

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.writes.append((self.tell(), bytes(data)))
        return super().write(data)


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, 32, 48, 3)).astype(np.uint8)


def test_no_write_of_the_closing_leaves_less_than_was_there(
    frames: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film is rewritten into a plain mp4 in place; a kill may come between any two writes."""
    journals: list[Journal] = []

    def opened(path: Path, mode: str) -> Journal:
        journals.append(Journal(path))
        return journals[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        writer = FilmWriter(tmp_path / "film.mp4", height_px=32, width_px=48, rate_hz=30)
    for frame in frames:
        writer.write(frame)
    [journal] = journals
    before = len(journal.writes)
    writer.close()
    assert len(journal.writes) > before + 1
    whole = read_film((tmp_path / "film.mp4").read_bytes(), "film")
    broken, cut = tmp_path / "broken.mp4", tmp_path / "cut.mp4"
    for number in range(before, len(journal.writes) + 1):
        data = bytearray()
        for position, piece in journal.writes[:number]:
            data[position : position + len(piece)] = piece
        broken.write_bytes(data)
        count = count_whole_frames(broken)
        assert count >= NUM_FRAMES - 1
        cut_film(broken, cut, count)
        assert np.array_equal(read_film(cut.read_bytes(), "cut"), whole[:count])


def test_a_whole_film_is_a_plain_mp4(frames: np.ndarray, tmp_path: Path) -> None:
    """Without fragments it opens without a walk through all of it."""
    path = tmp_path / "film.mp4"
    write(path, frames)
    assert top_boxes(path.read_bytes()) == [b"ftyp", b"free", b"mdat", b"moov"]


def test_a_film_with_rare_keyframes_is_read_right(frames: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "foreign.mp4"
    many = np.concatenate([frames, frames[::-1], frames])
    with av.open(path, "w") as film:
        stream = film.add_stream("libx264", rate=30, options={"g": "250", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv444p"
        for image in many:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        film.mux(stream.encode(None))
    data = path.read_bytes()
    whole = read_film(data, "film")
    assert len(whole) == len(many)
    opened = Film(io.BytesIO(data), "film")
    for index in np.random.default_rng(1).integers(0, len(many), 40).tolist():
        assert np.array_equal(opened.frames([index])[0], whole[index])
    opened.close()


def test_a_film_starts_no_thread(frames: np.ndarray, tmp_path: Path) -> None:
    """Threads are lost in a fork, and whoever waits for one of them waits for ever."""
    path = tmp_path / "film.mp4"
    write(path, frames)
    before = num_threads()
    film = Film(io.BytesIO(path.read_bytes()), "film")
    film.frames([3, 11])
    assert num_threads() == before
    film.close()


def num_threads() -> int:
    """Return the threads of this process, those of C libraries too."""
    assert threading.current_thread() is threading.main_thread()
    return len(list(Path("/proc/self/task").iterdir()))


def write(path: Path, frames: np.ndarray) -> None:
    writer = FilmWriter(path, height_px=frames.shape[1], width_px=frames.shape[2], rate_hz=30)
    for frame in frames:
        writer.write(frame)
    writer.close()


def top_boxes(data: bytes) -> list[bytes]:
    boxes, begin = [], 0
    while begin < len(data):
        boxes.append(data[begin + 4 : begin + 8])
        begin += int.from_bytes(data[begin : begin + 4], "big")
    return boxes
