"""The closed form behind the envelope: from which speed a given distance still suffices to stop.

After a command takes effect ``reaction`` late, at full speed ``v`` until then, braking at ``a``
takes ``v * reaction + v**2 / (2 * a)``. Both functions are that one equation, solved each way.
"""

from __future__ import annotations

import numpy as np


def braking_distance(speed: np.ndarray, deceleration: np.ndarray, reaction_s: float) -> np.ndarray:
    """Return the distance that stopping from ``speed`` takes."""
    return speed * reaction_s + speed**2 / (2 * deceleration)


def braking_speed(distance: np.ndarray, deceleration: np.ndarray, reaction_s: float) -> np.ndarray:
    """Return the largest speed from which ``distance`` suffices; 0 where none is left."""
    lost = deceleration * reaction_s
    left = np.maximum(distance, 0.0)
    return np.sqrt(lost * lost + 2 * deceleration * left) - lost
