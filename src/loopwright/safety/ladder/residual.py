"""Sixth rung: does the robot do what it is told?

The expected speed follows the commanded one with the servo's lag. What lasts of the difference to
the measured speed is summed up (CUSUM): an unknown load, a collision, a drive that fails.
"""

from __future__ import annotations

import math

import numpy as np

from loopwright.safety.ladder.situation import Situation
from loopwright.safety.limits import Limits


class Residual:
    """Sums up how much and how long the robot differs from what is expected of it."""

    def __init__(self, limits: Limits, now: Situation) -> None:
        """Prepare."""
        self._allowed = np.where(now.is_speed, limits.residual, np.inf)
        self._follow = 1.0 - math.exp(-now.period_s / limits.servo_lag_s)
        self._limit_s = limits.residual_s
        self._expected = np.zeros(len(now.previous))
        self._excess_s = 0.0

    def restart(self, now: Situation) -> None:
        """Expect the robot to go on as measured."""
        np.copyto(self._expected, now.measured.speed)
        self._excess_s = 0.0

    def trips(self, now: Situation) -> bool:
        """Take in one measurement; true when the difference has lasted too long."""
        self._expected += self._follow * (now.previous - self._expected)
        worst = float((np.abs(now.measured.speed - self._expected) / self._allowed).max())
        self._excess_s = max(0.0, self._excess_s + (worst - 1.0) * now.period_s)
        return self._excess_s > self._limit_s
