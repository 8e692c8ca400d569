"""How an attempt ended: by the world, and never better than the robot itself says."""

from __future__ import annotations

from dataclasses import dataclass

from loopwright.robot.messages import Claim
from loopwright.robot.task import Outcome


@dataclass(frozen=True, slots=True)
class Ending:
    """An attempt that is over, and waits for the world to be seen."""

    claim: Claim | None
    """None: nobody can say, for the robot or its agent died."""
    reason: str
    lasted_s: float
    since_s: float
    """Wall clock; only what was seen after it counts."""

    def judged(self, truth: bool | None, *, has_ensures: bool) -> tuple[Outcome, str]:
        """Return the outcome, and why.

        Args:
            truth: Whether what the skill ensures was seen to hold; None if that is not known.
            has_ensures: Whether it ensures anything.
        """
        if self.claim not in (None, "finished"):
            held = "; its effects hold nevertheless" if truth else ""
            return "failed", f"{self.claim}: {self.reason}{held}"
        if truth is True:
            return "succeeded", (
                "" if self.claim else f"{self.reason}; its effects were seen afterwards"
            )
        said = "the robot says it is done" if self.claim else self.reason
        if truth is False:
            return "failed", f"{said}, but the world is not as it should be"
        if not has_ensures:
            return "unknown", f"{said}; the skill ensures nothing that could be observed"
        return "unknown", f"{said}; what it ensures could not be seen"
