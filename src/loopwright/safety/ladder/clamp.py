"""Second rung: no component beyond what may be commanded at all."""

from __future__ import annotations

import numpy as np

from loopwright.safety.decision import Reason
from loopwright.safety.ladder.situation import Situation
from loopwright.safety.limits import Limits


class Clamp:
    """Cuts each speed and effort to its limit."""

    def __init__(self, limits: Limits) -> None:
        """Take the limits."""
        self._most = np.array(limits.speed)

    def apply(self, command: np.ndarray, now: Situation) -> Reason:
        """Cut ``command`` in place."""
        if (np.abs(command) <= self._most).all():
            return Reason.UNALTERED
        np.minimum(np.maximum(command, -self._most), self._most, out=command)
        return Reason.CLAMPED
