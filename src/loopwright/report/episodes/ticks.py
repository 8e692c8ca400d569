"""Round numbers along an axis."""

from __future__ import annotations

import numpy as np


def round_ticks(low: float, high: float) -> list[float]:
    """Return two or three round numbers within a range."""
    span = high - low
    if span <= 0:
        return [float(f"{low:.3g}")]
    magnitude = 10.0 ** np.floor(np.log10(span))
    for step in (magnitude, magnitude / 2, magnitude / 5, magnitude / 10):
        first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
        if last - first >= 1:
            count = int(last - first)
            stride = max(1, -(-count // 2))
            # Adding zero turns a negative zero into a plain one.
            return [float(n * step) + 0.0 for n in np.arange(first, last + 1, stride)]
    return [low, high]


def number(value: float) -> str:
    """Return a number as it stands at a tick, with a real minus sign."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
