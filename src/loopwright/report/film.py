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
from av.video.reformatter import Interpolation

from loopwright.core.errors import InvalidConfig

_ROW_PX = 64
_QUALITY = "21"
"""x264's constant rate factor: upscaled simulator frames look unharmed, films stay at 20-60 KB."""


def encode_film(frames: np.ndarray, rate_hz: float, scale: int = 4) -> bytes:
    """Return an H.264 mp4 (yuv420p, index first) that a web page can play at once.

    The same frames give the same bytes with the same library.

    Args:
        frames: uint8 ``(T, H, W, 3)``, T >= 1; sides of any size from 8 px.
        rate_hz: Frames per second.
        scale: Factor by which small frames are enlarged, smoothly.

    Raises:
        InvalidConfig: The frames are no such array, or rate or scale is not positive.
    """
    _check_frames(frames)
    if not rate_hz > 0 or scale < 1:
        raise InvalidConfig(f"film at {rate_hz} Hz, scaled {scale} times; need > 0 and >= 1")
    # Chroma is stored at half resolution, so both sides must be even.
    height, width = (side * scale // 2 * 2 for side in frames.shape[1:3])
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    # Moving the index to the front reopens the film by name, so memory alone will not do.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with av.open(path, "w", format="mp4", options=options) as container:
            _encode(container, frames, Fraction(rate_hz).limit_denominator(1000), (width, height))
        return path.read_bytes()


def _encode(
    container: OutputContainer, frames: np.ndarray, rate_hz: Fraction, size: tuple[int, int]
) -> None:
    width, height = size
    stream = container.add_stream("libx264", rate=rate_hz)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = {"crf": _QUALITY, "preset": "veryfast", "threads": "1"}
    for frame in frames:
        container.mux(stream.encode(_scaled(frame, width, height)))
    container.mux(stream.encode())


def _scaled(frame: np.ndarray, width: int, height: int) -> av.VideoFrame:
    """Return a frame as yuv420p of another size, the same bytes for the same frame.

    The scaler reads whole vectors, past the end of a row whose length is no multiple of them, and
    mixes what it finds there into the picture. So rows are lengthened first and cut afterwards.
    """
    scale = width / frame.shape[1]
    extra = -frame.shape[1] % _ROW_PX
    padded = np.pad(frame, ((0, 0), (0, extra), (0, 0)), mode="edge")
    wide = round(padded.shape[1] * scale) // 2 * 2
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
    scaled = picture.reformat(wide, height, format="yuv420p", interpolation=Interpolation.BICUBIC)
    planes = np.asarray(scaled.to_ndarray(), dtype=np.uint8)
    luma = planes[:height, :width]
    chroma = planes[height:].reshape(2, height // 2, wide // 2)[:, :, : width // 2]
    cut = np.concatenate([luma.ravel(), chroma.ravel()]).reshape(-1, width)
    return av.VideoFrame.from_ndarray(cut, format="yuv420p")


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
