"""Third rung: never faster than what can still be braked before the nearest limit.

Each row of the :class:`~loopwright.safety.ladder.situation.Situation` allows a closing speed, by
the closed form of :mod:`~loopwright.safety.ladder.braking`. A command that moves a point too fast
is shrunk. One that is beyond a row then is turned aside, so that sliding along a wall stays
possible, and shrunk to what that leaves: standing still is within every row and every speed, so
shrinking always ends inside.

Shapes: N coordinates, P points, R rows.
"""

from __future__ import annotations

import numpy as np

from loopwright.safety.decision import Reason
from loopwright.safety.ladder.situation import Situation
from loopwright.safety.limits import Limits

_CREEP = 1e-9
"""Closing speed that a row allows even at its end, so that nothing is divided by zero."""
_ROUNDING = 1e-9
"""A command beyond a row by this share is within it."""


class Envelope:
    """Bounds on the closing speed of every row and on the speed of every watched point."""

    def __init__(self, limits: Limits, now: Situation) -> None:
        """Prepare what stays the same in every step."""
        n, rows = len(now.previous), len(now.distance)
        self._margin = np.full(rows, limits.distance_margin_m)
        self._margin[: 2 * n] = limits.position_margin
        # The size of an effort is the clamp's business.
        top = np.where(now.is_speed, limits.headroom * np.array(limits.speed), np.inf)
        self._top = np.concatenate([top, top, np.full(rows - 2 * n, np.inf)])
        self._top_point_m_s = limits.headroom * limits.point_speed_m_s
        self._allowed = np.zeros(rows)

    def apply(self, command: np.ndarray, now: Situation) -> Reason:
        """Bring ``command`` inside, in place."""
        braking = now.braking.speed(now.distance - self._margin)
        np.minimum(braking, self._top, out=self._allowed)
        np.maximum(self._allowed, _CREEP, out=self._allowed)
        return self.hold(command, now)

    def hold(self, command: np.ndarray, now: Situation) -> Reason:
        """Bring ``command`` inside what the last :meth:`apply` found allowed, in place."""
        reason = Reason.UNALTERED
        points = now.fastest_point_m_s(command) / self._top_point_m_s
        if points > 1.0 + _ROUNDING:
            np.divide(command, points, out=command, where=now.is_speed)
            reason = Reason.POINT_SPEED
        rows, row = self._worst_row(command, now)
        if rows > 1.0 + _ROUNDING:
            reason = Reason.SPEED if self._allowed[row] == self._top[row] else now.reasons[row]
            self._turn_aside(command, now)
            points = now.fastest_point_m_s(command) / self._top_point_m_s
            rows, _ = self._worst_row(command, now)
            np.divide(command, max(rows, points, 1.0), out=command, where=now.is_speed)
        return reason

    def _turn_aside(self, command: np.ndarray, now: Situation) -> None:
        """Take away from ``command`` what leads too fast to each limit, one after another."""
        n = len(command)
        np.minimum(command, self._allowed[:n], out=command)
        np.maximum(command, -self._allowed[n : 2 * n], out=command)
        rows, allowed = now.approach[2 * n :], self._allowed[2 * n :]
        for row in np.flatnonzero(rows @ command > allowed):
            direction = rows[row]
            over = max(0.0, direction @ command - allowed[row])
            command -= over / (direction @ direction) * direction

    def _worst_row(self, command: np.ndarray, now: Situation) -> tuple[float, int]:
        """Return by what factor ``command`` exceeds the row that it exceeds most, and which."""
        factor = (now.approach @ command) / self._allowed
        row = int(factor.argmax())
        return float(factor[row]), row
