"""Frames to films and pictures that every browser shows."""

from __future__ import annotations

import struct
import tempfile
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer

from loopwright.core.errors import InvalidConfig
from loopwright.store.video import tag_colours

_QUALITY = "21"
"""x264's constant rate factor: simulator frames look unharmed, films stay at 20-60 KB."""


def encode_film(frames: np.ndarray, rate_hz: float) -> bytes:
    """Return an H.264 mp4 (yuv420p, index first) that a web page can play at once.

    The same frames give the same bytes with the same library.

    Args:
        frames: uint8 ``(T, H, W, 3)``, T >= 1; sides from 8 px. Chroma is stored at half
            resolution, so the last row or column of an odd side is cut.
        rate_hz: Frames per second.

    Raises:
        InvalidConfig: The frames are no such array, or the rate is not positive.
    """
    _check_frames(frames)
    if not rate_hz > 0:
        raise InvalidConfig(f"film at {rate_hz} Hz; need more than 0")
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    # Moving the index to the front reopens the film by name, so memory alone will not do.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with av.open(path, "w", format="mp4", options=options) as container:
            _encode(container, frames, Fraction(rate_hz).limit_denominator(1000))
        return path.read_bytes()


def _encode(container: OutputContainer, frames: np.ndarray, rate_hz: Fraction) -> None:
    stream = container.add_stream("libx264", rate=rate_hz)
    stream.height, stream.width = (side // 2 * 2 for side in frames.shape[1:3])
    stream.pix_fmt = "yuv420p"
    tag_colours(stream)
    # Without "zerolatency" x264 looks ahead, and for small pictures one film in two hundred then
    # comes out with other bytes.
    stream.options = {
        "crf": _QUALITY,
        "preset": "veryfast",
        "tune": "zerolatency",
        "threads": "1",
    }
    for frame in np.ascontiguousarray(frames[:, : stream.height, : stream.width]):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())


def encode_png(pixels: np.ndarray) -> bytes:
    """Return uint8 ``(H, W, 3 or 4)`` as a PNG; equal pixels give equal bytes."""
    height, width, channels = pixels.shape
    # Every row starts with the number of its filter; 0 is none.
    rows = np.concatenate(
        [np.zeros((height, 1), np.uint8), pixels.reshape(height, width * channels)], axis=1
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 6 if channels == 4 else 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _check_frames(frames: np.ndarray) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or len(frames) == 0:
        raise InvalidConfig(
            f"film frames are {frames.dtype} {frames.shape}, expected uint8 (T >= 1, H, W, 3)"
        )
    if min(frames.shape[1:3]) < 8:
        raise InvalidConfig(
            f"film frames are {frames.shape[2]}x{frames.shape[1]} px, need at least 8x8"
        )
