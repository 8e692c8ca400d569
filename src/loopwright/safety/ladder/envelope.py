"""Third rung: never faster than what can still be braked before the nearest limit.

Each row of the :class:`~loopwright.safety.ladder.situation.Situation` allows a closing speed, by
the closed form of :mod:`~loopwright.safety.ladder.braking`. A command that moves a point too fast
is shrunk. One that is beyond a row then is turned aside, so that sliding along a wall stays
possible, and shrunk to what that leaves: standing still leads to no limit, so shrinking always
ends well. A robot that has sunk into a margin, under a load that nobody stated, is led back: the
wish to stand still would let it sink further.

Shapes: N coordinates, P points, R rows.
"""

from __future__ import annotations

import numpy as np

from loopwright.safety.decision import Reason
from loopwright.safety.ladder.situation import Situation
from loopwright.safety.limits import Limits

_ROUNDING = 1e-9
"""A command beyond a row by so little is within it."""
_RETREAT = 0.25
"""Share of the commanded top speed with which a robot is led back at most."""


class Envelope:
    """Bounds on the closing speed of every row and on the speed of every watched point."""

    def __init__(self, limits: Limits, now: Situation) -> None:
        """Prepare what stays the same in every step."""
        n, rows = len(now.previous), len(now.distance)
        self._margin = np.full(rows, limits.distance_margin_m)
        self._margin[: 2 * n] = limits.position_margin
        # The size of an effort is the clamp's business.
        top = np.where(now.is_speed, limits.headroom * np.array(limits.speed), np.inf)
        self._top_point_m_s = limits.headroom * limits.point_speed_m_s
        self._top = np.concatenate([top, top, np.full(rows - 2 * n, np.inf)])
        retreat = [top, top, np.full(rows - 2 * n, self._top_point_m_s)]
        self._retreat = -_RETREAT * np.concatenate(retreat)
        self._allowed = np.zeros(rows)

    def apply(self, command: np.ndarray, now: Situation) -> Reason:
        """Bring ``command`` inside, in place."""
        braking = now.braking.speed(now.distance - self._margin)
        np.minimum(braking, self._top, out=self._allowed)
        np.maximum(self._allowed, self._retreat, out=self._allowed)
        return self.hold(command, now)

    def hold(self, command: np.ndarray, now: Situation) -> Reason:
        """Bring ``command`` inside what the last :meth:`apply` found allowed, in place."""
        reason = Reason.UNALTERED
        points = now.fastest_point_m_s(command) / self._top_point_m_s
        if points > 1.0 + _ROUNDING:
            np.divide(command, points, out=command, where=now.is_speed)
            reason = Reason.POINT_SPEED
        beyond = now.approach @ command - self._allowed
        row = int(beyond.argmax())
        if beyond[row] > _ROUNDING:
            reason = Reason.SPEED if self._allowed[row] == self._top[row] else now.reasons[row]
            self._turn_aside(command, now)
            self._shrink(command, now)
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
            # A row that no coordinate moves has no direction, and cannot be helped.
            command -= over / (direction @ direction + _ROUNDING) * direction

    def _shrink(self, command: np.ndarray, now: Situation) -> None:
        """Shrink ``command`` until it leads too fast to no limit and moves no point too fast."""
        closing = now.approach @ command
        rows = closing / np.maximum(self._allowed, _ROUNDING)
        points = now.fastest_point_m_s(command) / self._top_point_m_s
        np.divide(command, max(1.0, points, rows.max()), out=command, where=now.is_speed)
