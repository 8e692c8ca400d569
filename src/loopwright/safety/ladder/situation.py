"""What the rungs know in one control step: the measured state against every limit.

Every limit of place is a *row*: a distance to it, and how fast a command approaches it. The first
2 N rows are the upper and lower ends of the coordinates' ranges, the rest each watched point
against each wall and keep-out.

Shapes: N coordinates, P points, R rows.
"""

from __future__ import annotations

import math

import numpy as np

from loopwright.safety.body import BodySpec, Measured, Places
from loopwright.safety.decision import Reason
from loopwright.safety.ladder.braking import Braking
from loopwright.safety.ladder.geometry import Hazards
from loopwright.safety.limits import Limits


class Situation:
    """Filled anew in every step; its arrays are kept and overwritten."""

    def __init__(self, spec: BodySpec, limits: Limits) -> None:
        """Lay out the rows."""
        n, p = spec.size, len(spec.points)
        self.period_s = 1.0 / spec.rate_hz
        self.hazards = Hazards(limits, p)
        self.is_speed = np.array([kind == "speed" for kind in spec.kinds])
        self.previous = np.zeros(n)
        """What was applied last."""
        self.measured: Measured
        self.places: Places
        self.speed_used: float
        """Share of the speed limits that the measured motion uses, the worst of all."""
        self.margin: float
        """Share of the room that braking from top speed needs, the worst of all; at most 1."""

        seen = p * self.hazards.count
        self.distance = np.zeros(2 * n + seen)
        self.approach = np.concatenate([np.eye(n), -np.eye(n), np.zeros((seen, n))])
        """``(R, N)``: how much nearer a limit comes per unit of a command."""
        self._seen = self.approach[2 * n :].reshape(p, self.hazards.count, n)
        deceleration = [limits.deceleration, limits.deceleration]
        self.braking = Braking(
            np.concatenate([*deceleration, np.full(seen, limits.point_deceleration_m_s2)]),
            limits.reaction_s,
        )
        kinds = [Reason.WALL] * self.hazards.walls
        kinds += [Reason.KEEP_OUT] * (self.hazards.count - self.hazards.walls)
        self.reasons = [Reason.POSITION] * (2 * n) + kinds * p

        # An effort has no position: its ends are infinitely far away.
        self._high = np.where(self.is_speed, limits.position_high, np.inf)
        self._low = np.where(self.is_speed, limits.position_low, -np.inf)
        self._per_speed = self.is_speed / np.array(limits.speed)
        self._top_point_speed_m_s = limits.point_speed_m_s
        top = np.concatenate([limits.speed, limits.speed, np.full(seen, limits.point_speed_m_s)])
        self._room = self.braking.distance(top)

    def update(self, measured: Measured, places: Places) -> None:
        """Take in a checked measurement and where it puts the watched points."""
        n = len(self.previous)
        self.measured, self.places = measured, places
        np.subtract(self._high, measured.position, out=self.distance[:n])
        np.subtract(measured.position, self._low, out=self.distance[n : 2 * n])
        self.hazards.look(places.position_m)
        self.distance[2 * n :] = self.hazards.distance_m.ravel()
        np.matmul(self.hazards.towards, places.jacobian, out=self._seen)
        fastest = self.fastest_point_m_s(measured.speed) / self._top_point_speed_m_s
        used = np.maximum.reduce(np.abs(measured.speed) * self._per_speed)
        self.speed_used = max(float(used), fastest)
        nearest = np.minimum.reduce(self.distance / self._room)
        self.margin = min(1.0 - self.speed_used, float(nearest))

    def fastest_point_m_s(self, speed: np.ndarray) -> float:
        """Return the speed of the fastest watched point when the coordinates move so."""
        velocity = self.places.jacobian @ speed
        return math.sqrt(np.maximum.reduce(np.add.reduce(velocity * velocity, 1), initial=0.0))
