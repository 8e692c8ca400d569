"""Motions: generators that command a robot step by step, and what they hold of it.

::

    def wave(hands: Hands) -> Motion:
        for _ in range(100):
            yield 0.1 * hands.driver.home()

Whoever runs a motion can stop it between any two steps, and close it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import numpy as np

Motion = Generator[np.ndarray | None, None, None]
"""One command a control step, float64 ``(N,)`` in the units of the robot's
:class:`~loopwright.safety.body.BodySpec`; None to keep still, and keep what is held."""


class GaveUp(Exception):
    """Raised inside a motion that sees it cannot succeed: an honest end, with its reason."""


class Hands(Protocol):
    """What a motion holds of its robot while it runs."""

    @property
    def robot(self) -> str:
        """Name of the robot."""
        ...

    @property
    def rate_hz(self) -> float:
        """Control steps per second."""
        ...

    @property
    def position(self) -> np.ndarray:
        """float64 ``(N,)``: measured coordinates, now."""
        ...

    @property
    def speed(self) -> np.ndarray:
        """float64 ``(N,)``: measured speeds, now."""
        ...

    @property
    def driver(self) -> Any:
        """The driver, for what only this kind of robot has (kinematics, gripper state)."""
        ...

    def where(self, entity: str) -> np.ndarray:
        """Return where something is believed to be: float64 ``(7,)``, metres and quaternion wxyz.

        Raises:
            GaveUp: Nobody has seen it.
        """
        ...
