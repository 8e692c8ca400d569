"""Film strips: frames at even times, side by side in one small JPEG."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from loopwright.report.episodes.story import Strip

STRIP_WIDTH_PX, FRAME_HEIGHT_PX = 720, 72
"""A strip is about this wide, whatever the shape of its frames, so every episode costs the same."""

_MAX_FRAMES = 12

# Full colour resolution: at 64 px half of it turns a red button into a smear.
_PIXELS = "yuvj444p"
_QUALITY = "6"
"""Quantiser, 2 (best) to 31; about 11 KiB a strip of a rendered scene."""


def frame_indices(time_s: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the rows that are nearest to evenly spaced times, first and last included."""
    moments = np.linspace(time_s[0], time_s[-1], num_frames)
    return np.interp(moments, time_s, np.arange(len(time_s))).round().astype(int)


def frames_that_fit(height_px: int, width_px: int) -> int:
    """Return how many frames of a shape stand side by side in a strip, 3 to 12."""
    shown_px = min(height_px, FRAME_HEIGHT_PX) * width_px / height_px
    return min(max(3, int(STRIP_WIDTH_PX // shown_px)), _MAX_FRAMES)


def make_strip(camera: str, frames: np.ndarray) -> Strip:
    """Put frames, uint8 ``(N, H, W, 3)``, side by side, no higher than a strip is."""
    number, height, width, _ = frames.shape
    if height > FRAME_HEIGHT_PX:
        width, height = max(round(width * FRAME_HEIGHT_PX / height), 8), FRAME_HEIGHT_PX
        frames = np.stack([_scaled(frame, height, width) for frame in frames])
    picture = np.ascontiguousarray(np.concatenate(list(frames), axis=1))
    return Strip(
        camera=camera,
        jpeg=encode_jpeg(picture),
        num_frames=number,
        height_px=height,
        width_px=width,
    )


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Return uint8 ``(H, W, 3)`` as a JPEG; equal pixels give equal bytes."""
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt = _PIXELS
    encoder.time_base = Fraction(1)
    encoder.options = {"qmin": _QUALITY, "qmax": _QUALITY, "threads": "1", "flags": "+bitexact"}
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=_PIXELS)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def _scaled(pixels: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    scaled = VideoReformatter().reformat(
        frame, width=width_px, height=height_px, format="rgb24", interpolation="AREA"
    )
    return scaled.to_ndarray()
