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


def recoloured(frames: np.ndarray, random: np.random.Generator, *, strength: float) -> np.ndarray:
    """Mix the colour channels of every row at random, about mid-grey, and shift them.

    Else a policy tells bodies apart by their colour and does for each only what it saw it do: the
    robot's few demonstrations are then learned by heart, and videos of other bodies teach nothing.

    Args:
        frames: uint8 ``(B, ..., H, W, 3)``; all images of one row change alike.
        random: Draws the mixtures.
        strength: Standard deviation of each entry of the mixing matrix about the identity, and
            half of that of the offsets, in units of half the colour range. 0 changes nothing.
    """
    if not strength:
        return frames
    count = len(frames)
    mixture = np.eye(3) + strength * random.normal(size=(count, 3, 3))
    offset = 127.5 + 127.5 * strength * 0.5 * random.normal(size=(count, 3))
    out = np.empty_like(frames)
    for i in range(count):
        centred = frames[i].astype(np.float32) - np.float32(127.5)
        mixed = centred @ mixture[i].astype(np.float32).T + offset[i].astype(np.float32)
        out[i] = np.clip(mixed, 0.0, 255.0).astype(np.uint8)
    return out
