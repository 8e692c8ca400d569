"""Last rung: once there is a reason to stop, only a person's release ends it."""

from __future__ import annotations

from loopwright.safety.decision import Reason


class Brake:
    """A latch. The first reason stays until the release."""

    def __init__(self) -> None:
        """Start released."""
        self.cause: Reason | None = None

    def latch(self, reason: Reason) -> None:
        """Stop, and stay stopped."""
        if self.cause is None:
            self.cause = reason

    def release(self) -> None:
        """Allow motion again."""
        self.cause = None
