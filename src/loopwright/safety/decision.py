"""What the filter answers at every control step: a command that may be applied, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Reason(IntEnum):
    """Why a command was altered; the number is what the black box records.

    Ordered by the rung of the ladder that decides it. Numbers are never given a new meaning.
    """

    UNALTERED = 0
    MALFORMED = 10
    """No array of N numbers."""
    NOT_FINITE = 11
    STALE = 12
    """The request, or the measurement, is older than the limits allow."""
    CLAMPED = 20
    """A component exceeded what may be commanded at all."""
    POSITION = 30
    """A coordinate could not have braked before the end of its range."""
    SPEED = 31
    POINT_SPEED = 32
    WALL = 33
    KEEP_OUT = 34
    SLEW = 40
    """The command changed faster than the limits allow."""
    OVERSPEED = 41
    """The measured speed exceeds what was commanded or allowed."""
    FORECAST = 50
    """By the nominal model the command leads out of the envelope."""
    RESIDUAL = 60
    """The robot does not move as commanded: unknown load, collision, failing drive."""
    BRAKED = 70
    """The brake is latched."""
    DEADLINE = 80
    """The filter, or what it waits for, missed its time."""
    RECORDER = 81
    """The black box does not record."""
    POLICY_LOST = 82
    LEASE = 83
    """The lease has run out."""
    GROUNDED = 84
    """A directive forbids motion."""
    OPERATOR = 85
    """Somebody pressed stop."""
    PEER = 86
    """Another robot of the same cell stopped."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decision:
    """What may be applied in this control step."""

    applied: np.ndarray
    """float64 ``(N,)``: speeds (and efforts) for the actuators; ignored while ``stopping``."""
    reason: Reason
    """The last rung that altered the request."""
    margin: float
    """How near the state is to the nearest limit: 1 far away, 0 at the limit, negative beyond."""
    stopping: bool
    """The robot must be in its safe state now."""

    @property
    def altered(self) -> bool:
        """Whether the actuators get something else than was asked for."""
        return self.reason is not Reason.UNALTERED
