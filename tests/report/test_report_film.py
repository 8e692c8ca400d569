import io

import av
import numpy as np
import pytest
from synthetic_run import reach

from loopwright.core.errors import InvalidConfig
from loopwright.report.film import encode_film, encode_png


def decode(film: bytes) -> tuple[np.ndarray, av.VideoStream]:
    with av.open(io.BytesIO(film)) as container:
        stream = container.streams.video[0]
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)]), stream


def test_a_film_keeps_its_pictures_length_and_rate() -> None:
    frames = reach(lands=True, start_y=0.4)
    film = encode_film(frames, rate_hz=12.5)
    seen, stream = decode(film)
    assert seen.shape == frames.shape
    assert stream.codec_context.name == "h264"
    assert stream.codec_context.pix_fmt == "yuv420p"
    assert stream.codec_context.colorspace == 6  # BT.601, which is what it holds
    assert float(stream.average_rate or 0) == pytest.approx(12.5)
    error = np.abs(seen.astype(int) - frames).mean()
    assert error < 4, f"mean absolute error {error:.1f} of 255"


def test_a_film_can_start_before_it_is_all_there_and_is_the_same_every_time() -> None:
    frames = reach(lands=False, start_y=0.4)[:10]
    film = encode_film(frames, 20)
    assert film.index(b"moov") < film.index(b"mdat")
    assert film == encode_film(frames, 20)


@pytest.mark.parametrize("shape", [(1, 8, 8, 3), (3, 9, 15, 3), (2, 64, 48, 3)])
def test_odd_sizes_and_single_frames_are_films_too(shape: tuple[int, ...]) -> None:
    frames = np.full(shape, 120, np.uint8)
    seen, _ = decode(encode_film(frames, 20))
    assert len(seen) == shape[0]
    assert seen.shape[1] % 2 == 0
    assert seen.shape[2] % 2 == 0
    assert abs(seen.astype(int) - 120).max() <= 3


@pytest.mark.parametrize(
    ("frames", "rate_hz"),
    [
        (np.zeros((0, 64, 64, 3), np.uint8), 20),
        (np.zeros((5, 64, 64, 3), np.float32), 20),
        (np.zeros((5, 3, 64, 64), np.uint8), 20),
        (np.zeros((5, 4, 4, 3), np.uint8), 20),
        (np.zeros((5, 64, 64, 3), np.uint8), 0),
    ],
)
def test_what_is_no_film_is_refused(frames: np.ndarray, rate_hz: float) -> None:
    with pytest.raises(InvalidConfig):
        encode_film(frames, rate_hz)


def test_a_png_holds_exactly_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    with av.open(io.BytesIO(encode_png(pixels))) as container:
        (frame,) = container.decode(video=0)
        assert np.array_equal(frame.to_ndarray(format="rgb24"), pixels)
