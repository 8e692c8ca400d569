"""The statistics that LeRobot keeps of a dataset: per episode, and merged over episodes.

They mean what LeRobot 0.4.4 means: images are scaled to 0..1 and sampled, quantiles of the whole
are the weighted mean of the episodes' quantiles (an approximation; LeRobot normalises with it).
Two deliberate differences: quantiles of an episode are exact where LeRobot reads them off a
histogram of 5000 bins, and the deviation of images is computed without the overflow of uint8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

Stats = Mapping[str, np.ndarray]
"""Statistic to values: ``(D,)`` for numbers, ``(3, 1, 1)`` for images; the count is ``(1,)``."""

_FEWEST_SAMPLES, _MOST_SAMPLES, _SAMPLE_POWER = 100, 10_000, 0.75
_LARGE_PX, _REDUCED_PX = 300, 150


def series_stats(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the statistics of a series ``(T,)`` or ``(T, D)``."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    stats = {
        "min": columns.min(0),
        "max": columns.max(0),
        "mean": columns.mean(0),
        "std": columns.std(0),
        "count": np.array([len(columns)]),
    }
    ranks = np.quantile(columns, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return stats | dict(zip(QUANTILES, ranks, strict=True))


def image_stats(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return the statistics of a camera's frames, uint8 ``(T, H, W, 3)``, a value a channel.

    The 256 levels of a channel are counted once, and everything follows from the counts.
    """
    sampled = frames[sampled_rows(len(frames))]
    step = _reduction(*frames.shape[1:3])
    pixels = sampled[:, ::step, ::step].reshape(-1, 3)
    channels = [_level_stats(np.bincount(pixels[:, c], minlength=256)) for c in range(3)]
    stats = {name: np.array([c[name] for c in channels]).reshape(3, 1, 1) for name in channels[0]}
    return stats | {"count": np.array([len(sampled)])}


def merged(parts: Sequence[Stats]) -> dict[str, np.ndarray]:
    """Return the statistics of the whole from those of its episodes."""
    counts = np.stack([part["count"] for part in parts]).astype(np.float64)
    counts = counts.reshape(-1, *[1] * parts[0]["mean"].ndim)

    def weighted(values: np.ndarray) -> np.ndarray:
        return (values * counts).sum(0) / counts.sum()

    stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    mean = weighted(stacked["mean"])
    return {
        "min": stacked["min"].min(0),
        "max": stacked["max"].max(0),
        "mean": mean,
        "std": np.sqrt(weighted(stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2)),
        "count": stacked["count"].sum(0),
        **{name: weighted(stacked[name]) for name in QUANTILES},
    }


def sampled_rows(num_rows: int) -> np.ndarray:
    """Return which frames of an episode the image statistics look at."""
    wanted = min(int(num_rows**_SAMPLE_POWER), _MOST_SAMPLES)
    wanted = max(min(_FEWEST_SAMPLES, num_rows), wanted)
    return np.round(np.linspace(0, num_rows - 1, wanted)).astype(int)


def _reduction(height_px: int, width_px: int) -> int:
    """Return of how many rows and columns one is looked at."""
    if max(height_px, width_px) < _LARGE_PX:
        return 1
    return (width_px if width_px > height_px else height_px) // _REDUCED_PX


def _level_stats(counts: np.ndarray) -> dict[str, float]:
    """Return the statistics of numbers 0..255, scaled to 0..1, from how often each occurs."""
    levels, total = np.arange(256) / 255.0, counts.sum()
    present = np.flatnonzero(counts)
    mean = float(levels @ counts / total)
    reached = np.cumsum(counts) / total
    return {
        "min": float(levels[present[0]]),
        "max": float(levels[present[-1]]),
        "mean": mean,
        "std": float(np.sqrt((levels - mean) ** 2 @ counts / total)),
        **{n: float(levels[np.searchsorted(reached, q - 1e-12)]) for n, q in QUANTILES.items()},
    }
