"""Fourth rung: no jerks, and less of everything when the robot is measured to be too fast.

A command may change only so fast. Braking is exempt where the envelope asks for it: after the
change is limited, the envelope has the last word.
"""

from __future__ import annotations

import numpy as np

from loopwright.safety.decision import Reason
from loopwright.safety.ladder.envelope import Envelope
from loopwright.safety.ladder.situation import Situation
from loopwright.safety.limits import Limits


class Slew:
    """Limits the change of a command, and feeds the measured speed back."""

    def __init__(self, limits: Limits, now: Situation, envelope: Envelope | None) -> None:
        """Prepare; without an envelope only the change is limited."""
        step = np.array(limits.slew) * now.period_s
        self._step = np.where(now.is_speed, step, np.inf)
        self._envelope = envelope
        self._headroom, self._gain = limits.headroom, limits.overspeed_gain

    def apply(self, command: np.ndarray, now: Situation) -> Reason:
        """Limit ``command`` in place."""
        reason = Reason.UNALTERED
        change = command - now.previous
        if (np.abs(change) > self._step).any():
            np.minimum(np.maximum(change, -self._step), self._step, out=change)
            np.add(now.previous, change, out=command)
            if self._envelope is not None:
                self._envelope.hold(command, now)
            reason = Reason.SLEW
        overspeed = now.speed_used / self._headroom - 1.0
        if overspeed > 0.0:
            less = max(0.0, 1.0 - self._gain * overspeed)
            np.multiply(command, less, out=command, where=now.is_speed)
            reason = Reason.OVERSPEED
        return reason

    def brake(self, now: Situation) -> np.ndarray:
        """Return the command that stands still as fast as commands may change."""
        command = now.previous - np.clip(now.previous * now.is_speed, -self._step, self._step)
        if self._envelope is not None:
            self._envelope.hold(command, now)
        return command
