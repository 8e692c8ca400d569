"""The closed form behind the envelope: from which speed a given distance still suffices to stop.

After a command takes effect a reaction time late, at full speed ``v`` until then, braking at ``a``
takes ``v * reaction_s + v**2 / (2 * a)``. Both methods are that one equation, solved each way.

Shapes: R rows.
"""

from __future__ import annotations

import numpy as np


class Braking:
    """Stopping with a fixed deceleration for each row."""

    def __init__(self, deceleration: np.ndarray, reaction_s: float) -> None:
        """Prepare.

        Args:
            deceleration: ``(R,)``, in units of the row per second squared.
            reaction_s: From a command to its effect.
        """
        self._reaction_s = reaction_s
        self._twice = 2 * deceleration
        self._lost = deceleration * reaction_s
        self._lost_squared = self._lost**2

    def distance(self, speed: np.ndarray) -> np.ndarray:
        """Return the distances ``(R,)`` that stopping from ``speed (R,)`` takes."""
        return speed * self._reaction_s + speed**2 / self._twice

    def speed(self, distance: np.ndarray) -> np.ndarray:
        """Return the largest speeds ``(R,)`` from which ``distance (R,)`` suffices to stop.

        Where less than no distance is left it goes on along the tangent: away from the limit, by
        what was overshot within each reaction time.
        """
        left = np.maximum(distance, 0.0)
        left *= self._twice
        left += self._lost_squared
        np.sqrt(left, out=left)
        left -= self._lost
        left += np.minimum(distance, 0.0) / self._reaction_s
        return left
