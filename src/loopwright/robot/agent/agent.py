"""The agent at work: threads that hear orders, run attempts, and say that the robot lives."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import singledispatchmethod
from typing import Protocol

from loopwright.core.errors import LoopwrightError, StorageError
from loopwright.robot import messages as say
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import Bus
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import SkillSet

PULSE_S = 0.3
"""How often the robot says that it lives."""


class Runner(Protocol):
    """What makes a robot move: the cerebellum, or whatever stands in for it."""

    def run(self, order: say.RunSkill, cancelled: threading.Event) -> tuple[say.Claim, str]:
        """Run a skill to its end, or until ``cancelled`` is set, and leave the robot at rest.

        Returns:
            How it ended in the eyes of the robot, and why.
        """
        ...

    def look(self) -> tuple[Sighting, ...]:
        """Return what the robot's sensors see and feel now."""
        ...

    def stop(self, reason: str) -> None:
        """Bring the robot into its safe state now, and latch it there."""
        ...

    def held(self) -> str | None:
        """Return why the robot may not move; None if it may."""
        ...

    def release(self, by: str, signature: str) -> None:
        """Release the latch if the signature allows it.

        Raises:
            LoopwrightError: It does not.
        """
        ...


class Agent:
    """One robot on the bus."""

    def __init__(
        self,
        *,
        robot: str,
        parts: frozenset[str],
        skills: SkillSet,
        runner: Runner,
        log: IntentLog,
        bus: Bus,
        deadman_s: float = say.DEADMAN_S,
    ) -> None:
        """Join robot, skills and wires.

        Args:
            robot: Its name on the bus.
            parts: What it has (``"arm"``, ``"gripper"``, ``"base"``).
            skills: What it can do.
            runner: What makes it move.
            log: What it has begun, on its own disk.
            bus: Where the coordinator is.
            deadman_s: Without a coordinator that counts on it for so long, it stops what it does.
        """
        self.robot, self.incarnation = robot, uuid.uuid4().hex
        self._parts, self._skills, self._runner = parts, skills, runner
        self._log, self._bus, self._deadman_s = log, bus, deadman_s
        self._lock = threading.RLock()
        self._running: dict[str, threading.Event] = {}
        self._cancel_because: dict[str, tuple[say.Claim, str]] = {}
        self._robot_epoch = 0
        self._heard_s = time.monotonic()
        self._leaving = threading.Event()
        self._ends: list[Callable[[], None]] = []
        self._pulse = threading.Thread(target=self._live, name=f"pulse {robot}", daemon=True)

    def start(self) -> None:
        """Come onto the bus."""
        self._ends = [
            self._bus.subscribe(say.orders_to(self.robot), self._take),
            self._bus.subscribe(say.ALL_ROBOTS, self._take),
            self._bus.subscribe(say.COORDINATOR, self._take),
        ]
        self._pulse.start()

    def close(self) -> None:
        """Stop what runs and leave the bus; idempotent."""
        self._leaving.set()
        self._cancel_all("stopped", "the agent ends")
        for end in self._ends:
            end()
        self._ends = []
        if self._pulse.is_alive():
            self._pulse.join(timeout=5.0)

    # Hearing -------------------------------------------------------------------------------------

    def _take(self, message: say.Message) -> None:
        # What cannot be written down is not followed; without pulses the deadman stops the robot.
        with suppress(StorageError):
            self._hear(message)

    @singledispatchmethod
    def _hear(self, message: say.Message) -> None:
        """Everything else on these topics is for somebody else."""

    @_hear.register
    def _(self, message: say.Stop) -> None:
        if message.reminder and self._runner.held() is not None:
            return
        # First the robot, then everything else.
        with suppress(StorageError):  # it holds, though this process's successor may not know
            self._runner.stop(f"emergency stop by {message.by}")
        self._cancel_all("stopped", f"emergency stop by {message.by}")

    @_hear.register
    def _(self, message: say.Release) -> None:
        # Where the signature is no good it stays stopped, as its pulse says.
        with suppress(LoopwrightError):
            self._runner.release(message.by, message.signature)

    @_hear.register
    def _(self, message: say.Welcome) -> None:
        if message.incarnation == self.incarnation and self._log.fence(message.coordinator_epoch):
            self._robot_epoch = max(self._robot_epoch, message.robot_epoch)
            self._heard_s = time.monotonic()  # or its first order would be stopped at once

    @_hear.register
    def _(self, message: say.CancelSkill) -> None:
        if self._log.fence(message.coordinator_epoch):
            self._cancel(message.intent, "cancelled", message.reason)

    @_hear.register
    def _(self, message: say.Inquire) -> None:
        if self._log.fence(message.coordinator_epoch):
            self._answer(message.intent)

    @_hear.register
    def _(self, message: say.Look) -> None:
        self._report(say.Seen(by=self.robot, sightings=self._sightings()))

    @_hear.register
    def _(self, message: say.CoordinatorPulse) -> None:
        if not self._log.fence(message.epoch):
            return  # a coordinator that was replaced and does not know it yet
        epoch = message.at_work.get(self.incarnation)
        if epoch is not None:
            self._heard_s = time.monotonic()
            self._robot_epoch = max(self._robot_epoch, epoch)  # its welcome may have been lost
            return
        if self._leaving.is_set():
            return
        # Said until it is heard: the coordinator is new, gave this robot up, or missed its word.
        self._report(
            say.Joined(
                robot=self.robot,
                incarnation=self.incarnation,
                coordinator_epoch=message.epoch,
                parts=tuple(sorted(self._parts)),
                skills=tuple(c.to_json() for c in self._skills.contracts),
                running=tuple(self._running),
                sightings=self._sightings(),
            )
        )

    @_hear.register
    def _(self, order: say.RunSkill) -> None:
        with self._lock:
            if self._log.standing(order.intent) != "never-heard":
                self._answer(order.intent)
                return
            refusal = self._refusal(order)
            if refusal is None:
                try:
                    self._log.begin(order.intent)
                except StorageError as error:
                    refusal = str(error)
            if refusal is not None:
                self._report(_ended(self.robot, order.intent, "refused", refusal))
                return
            cancelled = self._running[order.intent] = threading.Event()
        threading.Thread(
            target=self._attempt, args=(order, cancelled), name=order.intent, daemon=True
        ).start()

    def _refusal(self, order: say.RunSkill) -> str | None:
        """Return why an order is not followed, None if it is."""
        if not self._log.fence(order.coordinator_epoch):
            return f"coordinator epoch {order.coordinator_epoch} is over, now {self._log.epoch}"
        if order.robot_epoch != self._robot_epoch:
            return f"the order is for epoch {order.robot_epoch}, this is {self._robot_epoch}"
        if (why := self._runner.held()) is not None:
            return why
        try:
            self._skills[order.skill].contract.check(order.values)
        except LoopwrightError as error:
            return str(error)
        return None

    # Running -------------------------------------------------------------------------------------

    def _attempt(self, order: say.RunSkill, cancelled: threading.Event) -> None:
        self._report(say.Started(robot=self.robot, intent=order.intent))
        began_s = time.monotonic()
        overtime = threading.Timer(
            order.longest_s,
            self._cancel,
            (order.intent, "timed-out", f"longer than {order.longest_s:g} s"),
        )
        overtime.daemon = True
        overtime.start()
        try:
            claim, reason = self._runner.run(order, cancelled)
        except Exception as error:  # noqa: BLE001 - a skill's own code; its crash is a report
            claim, reason = "crashed", f"{type(error).__name__}: {error}"
        finally:
            overtime.cancel()
        with self._lock:
            if cancelled.is_set() and claim == "cancelled":
                claim, reason = self._cancel_because.pop(order.intent, (claim, reason))
            report = _ended(
                self.robot,
                order.intent,
                claim,
                reason,
                lasted_s=time.monotonic() - began_s,
                sightings=self._sightings(),
            )
            self._running.pop(order.intent, None)
            # Nobody waits for the disk: what was not written counts as interrupted later.
            self._report(report)
            with suppress(StorageError):
                self._log.end(report)

    def _cancel(self, intent: str, claim: say.Claim, reason: str) -> None:
        with self._lock:
            cancelled = self._running.get(intent)
            if cancelled is not None:
                self._cancel_because.setdefault(intent, (claim, reason))
                cancelled.set()
            else:
                self._answer(intent)

    def _cancel_all(self, claim: say.Claim, reason: str) -> None:
        with self._lock:
            for intent in list(self._running):
                self._cancel(intent, claim, reason)

    # Reporting -----------------------------------------------------------------------------------

    def _answer(self, intent: str) -> None:
        ended = self._log.report(intent)
        if ended is not None:
            self._report(ended)
            return
        self._report(
            say.Standing(robot=self.robot, intent=intent, standing=self._log.standing(intent))
        )

    def _sightings(self) -> tuple:
        with suppress(Exception):  # eyes are plug-ins; a robot that is blind reports all the same
            return tuple(s.to_json() for s in self._runner.look())
        return ()

    def _report(self, message: say.Message) -> None:
        self._bus.publish(say.REPORTS, message)

    def _live(self) -> None:
        while not self._leaving.wait(PULSE_S):
            self._report(
                say.RobotPulse(
                    robot=self.robot,
                    incarnation=self.incarnation,
                    running=tuple(self._running),
                    held=self._runner.held() or "",
                )
            )
            if time.monotonic() - self._heard_s > self._deadman_s:
                self._cancel_all("stopped", f"no coordinator for {self._deadman_s:g} s")


def _ended(
    robot: str,
    intent: str,
    claim: say.Claim,
    reason: str,
    *,
    lasted_s: float = 0.0,
    sightings: tuple = (),
) -> say.Ended:
    return say.Ended(
        robot=robot,
        intent=intent,
        claim=claim,
        reason=reason,
        lasted_s=lasted_s,
        sightings=sightings,
    )
