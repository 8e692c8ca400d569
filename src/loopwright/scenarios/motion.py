"""Smooth random motion: command vectors that wander over the whole of their range."""

from __future__ import annotations

import numpy as np

_SEGMENT_STEPS = (4, 16)
_SMOOTHING = 0.5


class SmoothNoise:
    """A random walk in ``[-1, 1]^size``: piecewise constant targets behind a first-order lag."""

    def __init__(self, size: int) -> None:
        """Start still, without a seed; call :meth:`reset` first."""
        self._size = size
        self.reset(np.random.default_rng(0))

    def reset(self, random: np.random.Generator) -> None:
        """Start over from rest, drawing from ``random``."""
        self._random = random
        self._value = np.zeros(self._size)
        self._target = np.zeros(self._size)
        self._steps_left = np.zeros(self._size, dtype=np.int64)

    def draw(self) -> np.ndarray:
        """Return the next command, float64 ``(size,)``; each component turns at its own times."""
        for index in np.flatnonzero(self._steps_left == 0):
            # The factor 1.5 makes full deflection as common as scripted experts use it.
            self._target[index] = np.clip(1.5 * self._random.uniform(-1.0, 1.0), -1.0, 1.0)
            self._steps_left[index] = self._random.integers(*_SEGMENT_STEPS)
        self._steps_left -= 1
        self._value += _SMOOTHING * (self._target - self._value)
        return self._value.copy()
