"""What may change in an image without changing the right action.

Shapes: B batch, H and W pixels, C channels, F frames.
"""

from __future__ import annotations

import numpy as np


def shifted(frames: np.ndarray, random: np.random.Generator, *, reach_px: int) -> np.ndarray:
    """Move every image by up to ``reach_px`` along both sides; the edge is repeated.

    Args:
        frames: uint8 ``(B, ..., H, W, C)``; all images of one row move together.
        random: Draws the shifts.
        reach_px: Largest shift.
    """
    if not reach_px:
        return frames
    height, width = frames.shape[-3:-1]
    moves = random.integers(-reach_px, reach_px + 1, size=(len(frames), 2))
    rows = np.clip(np.arange(height) + moves[:, :1], 0, height - 1)
    columns = np.clip(np.arange(width) + moves[:, 1:], 0, width - 1)
    out = np.empty_like(frames)
    for i in range(len(frames)):
        out[i] = frames[i][..., rows[i], :, :][..., columns[i], :]
    return out


def jittered(frames: np.ndarray, random: np.random.Generator, *, strength: float) -> np.ndarray:
    """Scale and offset the colours of every row, each channel on its own.

    Args:
        frames: uint8 ``(B, ..., H, W, C)``; all images of one row change alike.
        random: Draws gains and offsets.
        strength: 0 changes nothing; 0.2 means gains of 0.8 to 1.2.
    """
    if not strength:
        return frames
    count, channels = len(frames), frames.shape[-1]
    gain = 1.0 + strength * random.uniform(-1, 1, size=(count, channels))
    gain *= 1.0 + strength * random.uniform(-1, 1, size=(count, 1))
    offset = 127.5 * strength * random.uniform(-0.5, 0.5, size=(count, 1))
    levels = np.arange(256.0)
    table = np.clip(gain[..., None] * (levels - 127.5) + 127.5 + offset[..., None], 0, 255)
    table = table.astype(np.uint8)
    out = np.empty_like(frames)
    for i in range(count):
        for channel in range(channels):
            out[i][..., channel] = table[i, channel][frames[i][..., channel]]
    return out
