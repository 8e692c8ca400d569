"""Sixth rung: does the robot do what it is told?

The expected speed follows the commanded one with the servo's lag. Two questions are asked of what
was measured lately, older steps counting less and less:

- Is it far from what was expected? Unknown loads, collisions and failing drives show so.
- Would drives that are later than declared explain it far better? A late drive is exactly where it
  was told to be a moment ago, so it shows long before it is far from anything. Each delay is a
  hypothesis, and the best within the declared range is held against the best beyond: a generalised
  likelihood ratio of which the noise is unknown too (Willsky and Jones 1976; Basseville and
  Nikiforov, Detection of Abrupt Changes, 1993, chapter 2.4).

Shapes: N coordinates, H hypotheses.
"""

from __future__ import annotations

import math

import numpy as np

from loopwright.safety.ladder.situation import Situation
from loopwright.safety.limits import Limits

_DELAYS = np.array([0, 1, 3, 6, 9, 12])
"""Hypotheses, as multiples of the largest delay declared; the first two are within it."""
_WITHIN = 2
_FAR_BETTER = 2.0
"""A late drive must leave this many times less unexplained."""


class Residual:
    """Holds the measured speed against what each hypothesis expects of it."""

    def __init__(self, limits: Limits, now: Situation) -> None:
        """Prepare."""
        # Where none is declared they are all the same, and none is better than another.
        self._delays = _DELAYS * round(limits.delay_s / now.period_s)
        self._expected = np.zeros((self._delays[-1] + 1, len(now.previous)))
        """Of the newest step, the one before, and so on."""
        self._follow = 1.0 - math.exp(-now.period_s / limits.servo_lag_s)
        # Twice the residual is four times its square, of which a quarter is there after this long.
        self._keep = 0.75 ** (now.period_s / limits.residual_s)
        self._weights = (1.0 - self._keep) * np.array([limits.residual, limits.speed]).T ** -2.0
        self._late_share = limits.late_share
        self._apart = np.zeros((len(self._delays), 2))
        """``(H, 2)``: mean squared distance, in residuals and in shares of the top speeds."""

    def restart(self, now: Situation) -> None:
        """Expect the robot to go on as measured."""
        self._expected[:] = now.measured.speed
        self._apart[:] = 0.0

    def trips(self, now: Situation) -> bool:
        """Take in one measurement; true when the robot does not do as it is told."""
        expected = self._expected
        expected[1:] = expected[:-1]
        expected[0] += self._follow * (now.previous - expected[0])
        apart = now.measured.speed - expected.take(self._delays, 0)
        apart *= now.is_speed
        apart *= apart
        self._apart *= self._keep
        self._apart += apart @ self._weights
        far, unexplained = np.minimum.reduce(self._apart[:_WITHIN])
        left = np.minimum.reduce(self._apart[_WITHIN:, 1])
        late = math.sqrt(unexplained) > _FAR_BETTER * math.sqrt(left) + self._late_share
        return bool(far > 1.0) or late
