"""What the guard needs of its neighbours, and no more of them than that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from loopwright.safety.body import Measured
from loopwright.safety.decision import Decision, Reason


class Filter(Protocol):
    """Judges requests; pure computation."""

    @property
    def digest(self) -> str:
        """Of everything that decides what it lets through."""
        ...

    def reset(self, measured: Measured) -> None:
        """Begin at a measured state."""
        ...

    def step(self, request: object, request_time_s: float, measured: Measured) -> Decision:
        """Return what may be applied."""
        ...

    def latch(self, reason: Reason) -> None:
        """Stop until released."""
        ...

    def release(self) -> None:
        """Let go of the brake."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StepFacts:
    """Everything a guard knows of one control step."""

    sequence: int
    monotonic_s: float
    requested: np.ndarray
    """As sent by the policy; of another length where that was malformed."""
    request_age_s: float
    """Infinite where there was none."""
    position: np.ndarray
    speed: np.ndarray
    sensor_age_s: float
    applied: np.ndarray
    reason: Reason
    margin: float
    """NaN where the filter was not asked."""
    stopping: bool
    directive_epoch: int
    lease_left_s: float
    """Infinite where no directives reach."""


class Recorder(Protocol):
    """The black box."""

    def step(self, facts: StepFacts) -> None:
        """Record one control step.

        Raises:
            RecorderLost: It cannot.
        """
        ...

    def note(self, channel: str, text: str) -> None:
        """Record an event in words.

        Raises:
            RecorderLost: It cannot.
        """
        ...

    def close(self) -> None:
        """End the recording in good order."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Leave:
    """Whether directives and lease leave the robot its motion."""

    reason: Reason = Reason.UNALTERED
    """``GROUNDED`` or ``LEASE`` where they do not."""
    detail: str = ""
    epoch: int = 0
    lease_left_s: float = float("inf")


class Watch(Protocol):
    """Knows of directives and of the lease."""

    def poll(self, now_s: float) -> Leave:
        """Say how things stand; called at every step."""
        ...
