"""Judging measured states by the limits alone; no code is shared with the filter.

So a mistake in the filter does not hide itself from what judges it.

Shapes: N coordinates, P watched points.
"""

from __future__ import annotations

import numpy as np

from loopwright.safety.body import Body, Measured
from loopwright.safety.limits import KeepOut, Limits, Wall

NOT_FINITE = "not finite"
_ROUNDING = 1e-9


class LimitWatch:
    """Says which limits a measured state exceeds, and by how much."""

    def __init__(self, body: Body, limits: Limits) -> None:
        """Prepare.

        Args:
            body: Where the watched points are.
            limits: What counts as exceeded.
        """
        self._body, self._limits = body, limits
        self._moves = np.array([kind == "speed" for kind in body.spec.kinds])
        self._low, self._high = np.array(limits.position_low), np.array(limits.position_high)
        self._speed = np.array(limits.speed)

    def exceeded(self, measured: Measured) -> dict[str, float]:
        """Return the names of the limits exceeded, and by how much, in the limit's own unit.

        A state that is not finite exceeds all of them at once: it is named ``"not finite"``.
        """
        position, speed = measured.position, measured.speed
        if not (np.isfinite(position).all() and np.isfinite(speed).all()):
            return {NOT_FINITE: 1.0}
        places = self._body.place(position)
        point_speed_m_s = np.linalg.norm(places.jacobian @ speed, axis=-1)
        limits = self._limits
        over = {
            "position": self._most(np.maximum(self._low - position, position - self._high)),
            "speed": self._most(np.abs(speed) - self._speed),
            "point speed": float(point_speed_m_s.max(initial=0.0)) - limits.point_speed_m_s,
            "wall": max(
                (_beyond_m(wall, point) for wall in limits.walls for point in places.position_m),
                default=0.0,
            ),
            "keep-out": max(
                (_inside_m(box, point) for box in limits.keep_outs for point in places.position_m),
                default=0.0,
            ),
        }
        return {name: amount for name, amount in over.items() if amount > _ROUNDING}

    def _most(self, over: np.ndarray) -> float:
        return float(over[self._moves].max(initial=0.0))


def _beyond_m(wall: Wall, point: np.ndarray) -> float:
    """Return how far a point lies beyond a wall; negative on the right side."""
    return -float(np.dot(point - wall.point_m, wall.inward))


def _inside_m(volume: KeepOut, point: np.ndarray) -> float:
    """Return how deep a point lies in a keep-out volume; negative outside."""
    low, high = np.array(volume.low_m), np.array(volume.high_m)
    outside = float(np.linalg.norm(point - np.clip(point, low, high)))
    if outside > 0.0:
        return volume.radius_m - outside
    return volume.radius_m + float(np.minimum(point - low, high - point).min())
