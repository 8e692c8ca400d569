"""Judging measured states by the limits alone; no code is shared with the filter.

So a mistake in the filter does not hide itself from what judges it.

Shapes: N coordinates, P watched points, W walls, V keep-out volumes.
"""

from __future__ import annotations

import numpy as np

from loopwright.safety.body import Body, Measured
from loopwright.safety.limits import Limits

NOT_FINITE = "not finite"


class LimitWatch:
    """Says which limits a measured state exceeds, and by how much."""

    def __init__(self, body: Body, limits: Limits, *, rounding: float = 1e-9) -> None:
        """Prepare.

        Args:
            body: Where the watched points are.
            limits: What counts as exceeded.
            rounding: What may be added to a value that lies at its limit, in the limit's own unit.
        """
        self._rounding = rounding
        self._body, self._point_speed_m_s = body, limits.point_speed_m_s
        self._moves = np.array([kind == "speed" for kind in body.spec.kinds])
        self._low, self._high = np.array(limits.position_low), np.array(limits.position_high)
        self._speed = np.array(limits.speed)
        self._inward = np.array([wall.inward for wall in limits.walls]).reshape(-1, 3)
        walls_m = np.array([wall.point_m for wall in limits.walls]).reshape(-1, 3)
        self._offset_m = (self._inward * walls_m).sum(axis=1)
        self._corner_low_m = np.array([box.low_m for box in limits.keep_outs]).reshape(-1, 3)
        self._corner_high_m = np.array([box.high_m for box in limits.keep_outs]).reshape(-1, 3)
        self._radius_m = np.array([box.radius_m for box in limits.keep_outs])

    def exceeded(self, measured: Measured) -> dict[str, float]:
        """Return the names of the limits exceeded, and by how much, in the limit's own unit.

        A state that is not finite exceeds all of them at once: it is named ``"not finite"``.
        """
        position, speed = measured.position, measured.speed
        if not (np.isfinite(position).all() and np.isfinite(speed).all()):
            return {NOT_FINITE: 1.0}
        places = self._body.place(position)
        velocity_m_s = places.jacobian @ speed
        fastest_m_s = float(np.sqrt((velocity_m_s**2).sum(axis=-1)).max(initial=0.0))
        over = {
            "position": self._most(np.maximum(self._low - position, position - self._high)),
            "speed": self._most(np.abs(speed) - self._speed),
            "point speed": fastest_m_s - self._point_speed_m_s,
            "wall": self._beyond_m(places.position_m),
            "keep-out": self._inside_m(places.position_m),
        }
        return {name: amount for name, amount in over.items() if amount > self._rounding}

    def _most(self, over: np.ndarray) -> float:
        return float(over[self._moves].max(initial=0.0))

    def _beyond_m(self, points_m: np.ndarray) -> float:
        """Return how far the worst point lies beyond a wall; 0 on the right side of all."""
        return float((self._offset_m - points_m @ self._inward.T).max(initial=0.0))

    def _inside_m(self, points_m: np.ndarray) -> float:
        """Return how deep the worst point lies in a keep-out volume; 0 outside of all."""
        low_m = points_m[:, None] - self._corner_low_m
        high_m = self._corner_high_m - points_m[:, None]
        outside_m = np.maximum(np.maximum(-low_m, -high_m), 0.0)
        depth_m = np.maximum(np.minimum(low_m, high_m).min(axis=-1), 0.0)
        away_m = np.sqrt((outside_m**2).sum(axis=-1))
        return float((self._radius_m - away_m + depth_m).max(initial=0.0))
