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


_MOVED_LEVELS = 24
"""A pixel shows something that moves where it differs so far from its median over the episode."""


def moving(frames: np.ndarray) -> np.ndarray:
    """Return where something that moves is seen, bool ``(T, H, W)``, one pixel generous.

    Args:
        frames: uint8 ``(T, H, W, 3)``, an episode seen by a camera that stands still.
    """
    still = np.median(frames, axis=0)
    moved = np.abs(frames.astype(np.int16) - still).max(axis=-1) > _MOVED_LEVELS
    wide = moved.copy()
    wide[:, 1:] |= moved[:, :-1]
    wide[:, :-1] |= moved[:, 1:]
    wide[:, :, 1:] |= moved[:, :, :-1]
    wide[:, :, :-1] |= moved[:, :, 1:]
    return wide


def redressed(
    frames: np.ndarray,
    moved: np.ndarray,
    random: np.random.Generator,
    *,
    scene: float,
    body: float,
    kept: float = 0.3,
) -> np.ndarray:
    """Recolour every row, what moves in it apart from the rest.

    Bodies differ in colour more than scenes do, and what moves is mostly the body.

    Args:
        frames: uint8 ``(B, ..., H, W, 3)``; all images of one row change alike.
        moved: bool ``(B, ..., H, W)``, see :func:`moving`.
        random: Draws the mixtures.
        scene: Strength for the whole image, see :func:`recoloured`.
        body: Strength for what moves.
        kept: Share of the rows in which what moves changes only as the scene does.
    """
    whole = recoloured(frames, random, strength=scene)
    apart = recoloured(frames, random, strength=body)
    chosen = random.random(len(frames)) >= kept
    mask = moved & chosen.reshape((-1,) + (1,) * (moved.ndim - 1))
    return np.where(mask[..., None], apart, whole)


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
