"""Images to a square of another side, by area: every source pixel counts by what it covers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def resize(image: np.ndarray, side_px: int) -> np.ndarray:
    """Return ``image``, uint8 ``(H, W, 3)``, as uint8 ``(side_px, side_px, 3)``.

    The aspect ratio is not kept: nothing of the scene is cut off.
    """
    height, width, channels = image.shape
    if height == width == side_px:
        return np.ascontiguousarray(image)
    rows = _overlap(height, side_px) @ image.reshape(height, width * channels).astype(np.float32)
    columns = _overlap(width, side_px) @ rows.reshape(side_px, width, channels)
    return np.rint(columns).astype(np.uint8)


@lru_cache(maxsize=16)
def _overlap(source_px: int, target_px: int) -> np.ndarray:
    """Return the share of each source pixel in each target pixel, float32 ``(target, source)``."""
    edges = np.linspace(0.0, source_px, target_px + 1)
    begin, end = edges[:-1, None], edges[1:, None]
    pixel = np.arange(source_px)[None]
    covered = np.clip(np.minimum(end, pixel + 1) - np.maximum(begin, pixel), 0.0, None)
    return (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
