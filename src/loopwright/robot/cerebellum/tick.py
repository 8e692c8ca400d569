"""The tick: one step of a skill's body, one request to the guard, at absolute times."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from loopwright.core.errors import LoopwrightError
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import GaveUp, Motion, SkillSet


class Driver(Protocol):
    """What every kind of robot has for its skills; each kind has more."""

    @property
    def size(self) -> int:
        """N, the number of coordinates."""
        ...

    def grips(self) -> np.ndarray:
        """Return the command that keeps still and keeps what is held, float64 ``(N,)``."""
        ...


class Port(Protocol):
    """What stands between the cerebellum and the actuators: the guard, seen from its outside."""

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        """Return position and speed, float64 ``(N,)`` each, as measured last.

        Raises:
            LoopwrightError: Nothing was measured lately.
        """
        ...

    def send(self, command: np.ndarray) -> None:
        """Ask for a command, float64 ``(N,)``; the guard decides what comes of it."""
        ...

    def rest(self) -> None:
        """Ask for the safe state, and for leave to be silent."""
        ...

    def stopped(self) -> str | None:
        """Return why the guard lets nothing through; None if it does."""
        ...


class Latch(Protocol):
    """What keeps a stopped robot stopped (:class:`loopwright.robot.latch.StopLatch`)."""

    @property
    def reason(self) -> str | None:
        """Why the robot is stopped; None if it is not."""
        ...

    def press(self, reason: str) -> None:
        """Latch a stop."""
        ...

    def release(self, releases: str) -> object:
        """End it if that is signed by somebody who may, or raise."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Stillness:
    """When a robot counts as standing still."""

    speed: float = 0.02
    """Of every coordinate, in its unit per second."""
    within_s: float = 2.0
    """How long to wait for it after a skill."""


class TickingHands:
    """The robot as a skill's body holds it."""

    def __init__(
        self,
        *,
        robot: str,
        rate_hz: float,
        port: Port,
        driver: Driver,
        where: Callable[[str], np.ndarray],
    ) -> None:
        """Join what a body may ask.

        Args:
            robot: Its name.
            rate_hz: Control steps per second.
            port: To the guard.
            driver: What only this kind of robot has.
            where: Pose of an entity, float64 ``(7,)``; raises GaveUp where nobody saw it.
        """
        self.robot, self.rate_hz, self.driver = robot, rate_hz, driver
        self.port, self.where = port, where
        self.position, self.speed = port.measured()

    def refresh(self) -> None:
        """Read the newest measurement."""
        self.position, self.speed = self.port.measured()


class Cerebellum:
    """Runs one skill at a time, and leaves the robot at rest after each."""

    def __init__(
        self,
        *,
        hands: TickingHands,
        skills: SkillSet,
        look: Callable[[], tuple[Sighting, ...]],
        latch: Latch,
        stillness: Stillness | None = None,
    ) -> None:
        """Join robot, skills and senses.

        Args:
            hands: The robot.
            skills: What it can do.
            look: Returns what its sensors see now.
            latch: Keeps a stop until it is released.
            stillness: When it counts as standing.
        """
        self._hands, self._skills = hands, skills
        self.look, self._latch = look, latch
        self._stillness = stillness or Stillness()
        self._busy = threading.Lock()
        self.late_s = 0.0
        """The latest that a tick has ever been."""

    def run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        """Run a skill to its end, or until it is cancelled or stopped; the robot rests then."""
        with self._busy:
            try:
                return self._run(order, cancelled)
            finally:
                self._come_to_rest()

    def stop(self, reason: str) -> None:
        """Stop at once and latch, whatever the driver does."""
        try:
            self._hands.port.rest()
        finally:
            self._latch.press(reason)

    def held(self) -> str | None:
        """Return why the robot may not move; None if it may."""
        return self._latch.reason or self._hands.port.stopped()

    def release(self, by: str, signature: str) -> None:
        """Release the latch, if the signature allows it."""
        self._latch.release(signature)

    def _run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        try:
            self._hands.refresh()
            motion = self._skills[order.skill].body(self._hands, **order.values)
            return self._tick(motion, cancelled)
        except GaveUp as gave_up:
            return "gave-up", str(gave_up)
        except LoopwrightError as error:
            return "crashed", f"{type(error).__name__}: {error}"

    def _tick(self, motion: Motion, cancelled: threading.Event) -> tuple[Claim, str]:
        hands = self._hands
        period_s = 1.0 / hands.rate_hz
        due_s = time.monotonic()
        try:
            while True:
                if cancelled.is_set():
                    return "cancelled", "asked to stop"
                if (why := self.held()) is not None:
                    return "stopped", why
                hands.refresh()
                try:
                    command = next(motion)
                except StopIteration:
                    return "finished", ""
                hands.port.send(hands.driver.grips() if command is None else command)
                due_s += period_s
                left_s = due_s - time.monotonic()
                self.late_s = max(self.late_s, -left_s)
                if left_s > 0:
                    # Woken at once when cancelled, not at the next tick.
                    cancelled.wait(left_s)
                else:
                    due_s = time.monotonic()
        finally:
            motion.close()

    def _come_to_rest(self) -> None:
        """Ask for the safe state and wait until the robot stands, or clearly does not."""
        self._hands.port.rest()
        until_s = time.monotonic() + self._stillness.within_s
        while time.monotonic() < until_s:
            self._hands.refresh()
            if np.all(np.abs(self._hands.speed) < self._stillness.speed):
                return
            time.sleep(1.0 / self._hands.rate_hz)
