"""Round numbers along an axis."""

from __future__ import annotations

import math


def round_ticks(low: float, high: float, most: int = 3) -> list[float]:
    """Return round numbers from ``low`` to ``high``, evenly spaced: as many as ``most`` allows."""
    span = high - low
    if span <= 0:
        return [float(f"{low:.3g}")]
    magnitude = 10.0 ** math.floor(math.log10(span / most))
    for step in (magnitude * factor for factor in (1, 2, 5, 10, 20)):
        # A tick at the very end counts, though division may miss it by a hair.
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            # Adding zero turns a negative zero into a plain one.
            return [round(n * step, 12) + 0.0 for n in range(first, last + 1)]
    raise AssertionError(f"no round step fits {low} to {high}")


def number(value: float) -> str:
    """Return a number as it stands at a tick, with a real minus sign."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
