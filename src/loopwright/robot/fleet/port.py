"""The guard of a robot, as its cerebellum sees it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from loopwright.core.errors import SafetyError
from loopwright.safety.guard.cell import PolicySide
from loopwright.safety.guard.signals import GuardState, LineState

OLD_S = 0.5
"""A measurement older than this is none."""


class GuardPort:
    """Sends requests to the guard and reads what the drive measured."""

    def __init__(self, signals: Path, robot: str, size: int, *, within_s: float = 20.0) -> None:
        """Become the one policy of a robot, at rest.

        Raises:
            SafetyError: There is another policy, or the drive measures nothing.
        """
        self._robot = robot
        self._policy = PolicySide(signals, robot, size)
        self._policy.rest()
        until_s = time.monotonic() + within_s
        while not self._is_measured():
            if time.monotonic() > until_s:
                raise SafetyError(f"the drive of {robot} measures nothing; does its cell run?")
            time.sleep(0.01)

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        """Return position and speed, as measured last.

        Raises:
            SafetyError: Nothing was measured lately.
        """
        reading = self._policy.reading()
        if reading is None or not self._is_measured():
            raise SafetyError(f"the drive of {self._robot} measures nothing any more")
        return reading.position, reading.speed

    def _is_measured(self) -> bool:
        """Tell whether there is a measurement, and not one of an earlier run."""
        reading = self._policy.reading()
        return reading is not None and time.monotonic() - reading.time_s <= OLD_S

    def send(self, command: np.ndarray) -> None:
        """Ask for a command; the guard decides."""
        self._policy.send(command)

    def rest(self) -> None:
        """Ask for the safe state, and for leave to be silent."""
        self._policy.rest()

    def stopped(self) -> str | None:
        """Return why the guard lets nothing through; None if it does."""
        line, command = self._policy.line(), self._policy.command()
        if line is not None and line.state is LineState.DOWN:
            return f"the cell has stopped: {line.reason.name.lower()}"
        if command is not None and command.state is GuardState.LATCHED:
            return f"the guard has latched: {command.reason.name.lower()}"
        return None

    def close(self) -> None:
        """Let go of the signals."""
        self._policy.rest()
        self._policy.close()
