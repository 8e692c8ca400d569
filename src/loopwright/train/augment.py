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


_BENT_SHARE = 0.5
"""Share of the rows whose colours are bent by waves; the others keep nearly their own."""
_WAVES = 4
_CYCLES = 0.8
"""Waves across the range of one colour channel, one standard deviation."""


def recoloured(frames: np.ndarray, random: np.random.Generator, *, strength: float) -> np.ndarray:
    """Send the colours of every row through a random smooth map from RGB to RGB.

    The map is a random linear mixture about mid-grey and, for half of the rows, a few random plane
    waves, so that each material of a scene changes for itself: what is left to tell two things
    apart is their shape. Else a policy tells bodies apart by their colour and does for each only
    what it saw it do: the robot's few demonstrations are then learned by heart, and videos of
    other bodies teach nothing. The other rows keep the picture as sharp as it will be in use.

    Args:
        frames: uint8 ``(B, ..., H, W, 3)``; all images of one row change alike.
        random: Draws the maps.
        strength: Standard deviation of each entry of the mixing matrix about the identity, and of
            the waves together in units of the colour range; the rows without waves get half of
            it. 0 changes nothing.
    """
    if not strength:
        return frames
    count = len(frames)
    bent = random.random(count) < _BENT_SHARE
    scale = strength * np.where(bent, 1.0, 0.5)
    mixture = np.eye(3) + scale[:, None, None] * random.normal(size=(count, 3, 3))
    offset = 0.5 + 0.25 * scale[:, None] * random.normal(size=(count, 3))
    wave = 2 * np.pi * _CYCLES * random.normal(size=(count, 3, _WAVES))
    phase = random.uniform(0.0, 2 * np.pi, size=(count, _WAVES))
    height = strength * np.sqrt(2.0 / _WAVES) * random.normal(size=(count, _WAVES, 3))
    mixture, offset, wave, phase, height = (
        a.astype(np.float32) for a in (mixture, offset, wave, phase, height)
    )
    out = np.empty_like(frames)
    for i in range(count):
        colour = frames[i].astype(np.float32) / np.float32(255.0)
        mixed = (colour - np.float32(0.5)) @ mixture[i].T + offset[i]
        if bent[i]:
            mixed += np.sin(colour @ wave[i] + phase[i]) @ height[i]
        out[i] = (mixed.clip(0.0, 1.0) * np.float32(255.0)).astype(np.uint8)
    return out
