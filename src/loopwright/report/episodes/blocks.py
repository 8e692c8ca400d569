"""Pictures and curves out of characters, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

BLOCKS = "▁▂▃▄▅▆▇█"
_HALF = "▀"


def sparkline(values: np.ndarray, *, width: int, low: float, high: float) -> str:
    """Return a curve as one line of blocks; the peak of each stretch is kept.

    Args:
        values: float ``(T,)``.
        width: Most characters; shorter curves take one for each value.
        low: Value of the lowest block.
        high: Value of the highest.
    """
    peaks = [float(np.max(s)) for s in np.array_split(np.asarray(values), min(width, len(values)))]
    span = high - low
    shares = [(peak - low) / span if span > 0 and np.isfinite(peak) else 0.0 for peak in peaks]
    return "".join(BLOCKS[min(max(int(s * len(BLOCKS)), 0), len(BLOCKS) - 1)] for s in shares)


def half_blocks(frames: Sequence[np.ndarray], *, columns: int) -> list[Text]:
    """Return frames, uint8 ``(H, W, 3)``, side by side as lines of coloured half blocks.

    A character is twice as high as wide and shows two pixels, so pixels stay square.
    """
    each = (columns - len(frames) + 1) // len(frames)
    rows = max(1, round(each * frames[0].shape[0] / frames[0].shape[1] / 2))
    small = [shrunk(frame, 2 * rows, each) for frame in frames]
    lines = []
    for row in range(rows):
        line = Text(no_wrap=True)
        for index, pixels in enumerate(small):
            line.append(" " if index else "")
            for upper, lower in zip(pixels[2 * row], pixels[2 * row + 1], strict=True):
                line.append(_HALF, Style(color=_colour(upper), bgcolor=_colour(lower)))
        lines.append(line)
    return lines


def shrunk(pixels: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """Return uint8 ``(H, W, 3)`` as ``(height_px, width_px, 3)``, each pixel a mean of its area."""
    return _means(_means(pixels.astype(np.float32), height_px, 0), width_px, 1).round().astype("u1")


def _means(values: np.ndarray, number: int, axis: int) -> np.ndarray:
    edges = np.linspace(0, values.shape[axis], number + 1)
    begins = np.minimum(edges[:-1].astype(int), values.shape[axis] - 1)
    ends = np.maximum(np.ceil(edges[1:] - 1e-9).astype(int), begins + 1)
    sums = np.cumsum(values, axis=axis, dtype=np.float64)
    sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis)), sums], axis=axis)
    shape = [1] * values.ndim
    shape[axis] = number
    counts = (ends - begins).reshape(shape)
    return (np.take(sums, ends, axis) - np.take(sums, begins, axis)) / counts


def _colour(rgb: np.ndarray) -> Color:
    return Color.from_rgb(*(int(c) for c in rgb))
