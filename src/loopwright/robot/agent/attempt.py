"""An attempt that runs in a thread of its own: whether it was told to stop, and whether it does."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from loopwright.robot.messages import Claim, RunSkill


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt, until its thread has ended."""

    order: RunSkill
    began_s: float = field(default_factory=time.monotonic)
    cancelled: threading.Event = field(default_factory=threading.Event)
    because: tuple[Claim, str] | None = None
    """Why it was told to stop; None if it was not."""
    cancelled_s: float | None = None
    """When, by the machine's clock."""
    is_given_up: bool = False
    """Whether its end was told although it still runs."""

    def cancel(self, claim: Claim, reason: str) -> None:
        """Tell it to stop; neither waits nor fails, and the first reason stands."""
        if self.because is None:
            self.because, self.cancelled_s = (claim, reason), time.monotonic()
        self.cancelled.set()

    def does_not_stop(self, within_s: float) -> bool:
        """Tell whether it was told to stop longer than ``within_s`` ago."""
        return self.cancelled_s is not None and time.monotonic() - self.cancelled_s > within_s
