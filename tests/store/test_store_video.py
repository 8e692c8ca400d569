from __future__ import annotations

import io
import resource
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.store.video import Film, FilmWriter, count_whole_frames, cut_film, read_film

NUM_FRAMES = 37


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2, axis=(1, 2, 3))
    return float((10 * np.log10(255**2 / np.maximum(error, 1e-9))).min())


def write_all(writer: FilmWriter, frames: np.ndarray) -> None:
    for frame in frames:
        writer.write(frame)


def write(path: Path, frames: np.ndarray) -> bytes:
    writer = FilmWriter(path, height_px=frames.shape[1], width_px=frames.shape[2], rate_hz=29.97)
    write_all(writer, frames)
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A textured scene with hard coloured edges, which is what codecs find difficult."""
    rng = np.random.default_rng(0)
    texture = np.repeat(np.repeat(rng.integers(70, 110, (16, 16, 3)), 4, 0), 4, 1)
    frames = np.stack([texture.copy() for _ in range(NUM_FRAMES)]).astype(np.uint8)
    for t in range(NUM_FRAMES):
        frames[t, 20:30, t : t + 10] = (220, 30, 30)
        frames[t, 40:44, 60 - t : 64 - t] = (20, 60, 230)
    return frames


@pytest.fixture(scope="module")
def film(frames: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "front.mp4"
    write(path, frames)
    return path


def test_a_film_says_how_its_colours_were_made(
    frames: np.ndarray, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with av.open(film) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_range) == (6, 1)  # BT.601, limited
        assert (codec.color_primaries, codec.color_trc) == (1, 13)  # sRGB
    assert b"colrnclx" in film.read_bytes()
    monkeypatch.setattr("loopwright.store.video.tag_colours", lambda stream: None)
    silent = write(tmp_path / "silent.mp4", frames)
    assert b"colrnclx" not in silent
    decoded = read_film(film.read_bytes(), "film")
    np.testing.assert_array_equal(decoded, read_film(silent, "silent"))


def test_a_small_coloured_scene_keeps_38_db(frames: np.ndarray, film: Path) -> None:
    back = read_film(film.read_bytes(), "film")
    assert back.shape == frames.shape
    assert back.dtype == np.uint8
    assert psnr_db(frames, back) >= 38.0


@pytest.mark.parametrize("size_px", [(18, 22), (34, 50), (64, 64)])
def test_equal_frames_give_equal_bytes(tmp_path: Path, size_px: tuple[int, int]) -> None:
    """Whatever lay in memory before: converters are known to read past rows of odd widths."""
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (6, *size_px, 3)).astype(np.uint8)
    films, images, litter = set(), set(), []
    for number in range(25):
        litter = [*litter[-3:], rng.bytes(int(rng.integers(1, 100_000)))]
        data = write(tmp_path / f"{number}.mp4", frames.copy())
        films.add(data)
        images.add(read_film(data, "film").tobytes())
    assert len(films) == len(images) == 1


@given(st.lists(st.integers(0, NUM_FRAMES - 1), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_frames_in_any_order_equal_those_of_the_whole_film(
    film: Path, indices: list[int]
) -> None:
    data = film.read_bytes()
    whole = read_film(data, "film")
    opened = Film(io.BytesIO(data), "film")
    for chosen in (indices, indices[::-1], [0], [NUM_FRAMES - 1]):
        assert np.array_equal(opened.frames(chosen), whole[chosen])
    assert np.array_equal(opened.all_frames(), whole)
    opened.close()


def test_a_frame_that_is_not_there_is_refused(film: Path) -> None:
    opened = Film(io.BytesIO(film.read_bytes()), "front")
    for index in (-1, NUM_FRAMES, 10_000):
        with pytest.raises(InvalidConfig, match="no frame"):
            opened.frames([index])
    opened.close()


def test_a_recorder_that_dies_loses_the_last_frame_at_most(
    frames: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "front.mp4"
    writer = FilmWriter(path, height_px=64, width_px=64, rate_hz=30)
    for number, frame in enumerate(frames[:12]):
        writer.write(frame)
        assert count_whole_frames(path) >= number  # of number + 1
    writer.close()


def test_a_broken_off_film_gives_its_whole_frames(film: Path, tmp_path: Path) -> None:
    data = film.read_bytes()
    whole = read_film(data, "film")
    broken, cut = tmp_path / "broken.mp4", tmp_path / "cut.mp4"
    counts = []
    for length in range(800, len(data), 1171):
        broken.write_bytes(data[:length])
        counts.append(count_whole_frames(broken))
        if counts[-1]:
            cut_film(broken, cut, counts[-1])
            assert np.array_equal(read_film(cut.read_bytes(), "cut"), whole[: counts[-1]])
    assert counts == sorted(counts)
    assert counts[-1] >= NUM_FRAMES - 2


@pytest.mark.parametrize("data", [b"", b"no film" * 100, b"\0" * 5000])
def test_what_is_no_film_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedData, match=r"front\.mp4"):
        read_film(data, "front.mp4")


def test_a_refused_write_is_an_os_error(frames: np.ndarray, tmp_path: Path) -> None:
    writer = FilmWriter(tmp_path / "front.mp4", height_px=64, width_px=64, rate_hz=30)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_all(writer, frames)
        writer.abandon()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
