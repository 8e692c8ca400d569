"""The agent at work: threads that hear orders, run attempts, and say that the robot lives."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from contextlib import suppress
from functools import singledispatchmethod
from typing import Protocol

from loopwright.core.errors import DamagedData, LoopwrightError, StorageError, WorkspaceBusy
from loopwright.robot import messages as say
from loopwright.robot.agent.attempt import Attempt
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import Bus, Failures, Subscription
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import SkillSet

PULSE_S = 0.3
"""How often the robot says that it lives."""
STOPS_WITHIN_S = 5.0
"""An attempt that still runs so long after it was told to stop is given up, and the robot held."""

_DEAF = "the agent no longer hears what it must"
_log = logging.getLogger(__name__)


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
        self._running: dict[str, Attempt] = {}
        self._unlatched = ""
        self._robot_epoch = 0
        self._heard_s = time.monotonic()
        self._leaving = threading.Event()
        self._subscriptions: list[Subscription] = []
        self._failures = Failures()
        self._pulse = threading.Thread(target=self._live, name=f"pulse {robot}", daemon=True)

    def start(self) -> None:
        """Come onto the bus."""
        self._subscriptions = [
            self._bus.subscribe(say.orders_to(self.robot), self._take),
            self._bus.subscribe(say.ALL_ROBOTS, self._take),
            self._bus.subscribe(say.COORDINATOR, self._take),
        ]
        self._pulse.start()

    def close(self) -> None:
        """Stop what runs and leave the bus; idempotent."""
        self._leaving.set()
        self._cancel_all("stopped", "the agent ends")
        subscriptions, self._subscriptions = self._subscriptions, []
        for end in subscriptions:
            end()
        if self._pulse.is_alive():
            self._pulse.join(timeout=5.0)

    @property
    def is_deaf(self) -> bool:
        """Whether it hears no longer what it must; it does nothing then, and falls silent."""
        return not all(subscription.is_alive() for subscription in self._subscriptions)

    # Hearing -------------------------------------------------------------------------------------

    def _take(self, message: say.Message) -> None:
        # What cannot be written down is not followed; without pulses the deadman stops the robot.
        with suppress(StorageError, WorkspaceBusy, DamagedData):
            self._hear(message)

    @singledispatchmethod
    def _hear(self, message: say.Message) -> None:
        """Everything else on these topics is for somebody else."""

    @_hear.register
    def _(self, message: say.Stop) -> None:
        if message.reminder and self._held() is not None:
            return
        why = f"emergency stop by {message.by}"
        self._cancel_all("stopped", why)  # neither waits nor fails, whatever the driver does next
        self._press(why)
        with self._lock:  # an order that was being taken meanwhile
            self._cancel_all("stopped", why)

    def _press(self, why: str) -> None:
        """Stop the robot; as long as that cannot be done, the agent itself holds it."""
        try:
            self._runner.stop(why)
        except BaseException as error:  # noqa: BLE001 - a driver; the robot is held all the same
            # One that only could not be written down holds, though no successor may know of it.
            holds = isinstance(error, StorageError) and self._held_by_runner() is not None
            if self._unlatched != why:  # it is tried again and again
                _log.exception("%s: %s could not be latched", self.robot, why)
            self._unlatched = "" if holds else why
        else:
            self._unlatched = ""

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
        if self._leaving.is_set() or self.is_deaf:
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
            attempt = self._running[order.intent] = Attempt(order)
        try:
            threading.Thread(
                target=self._run, args=(attempt,), name=order.intent, daemon=True
            ).start()
        except RuntimeError as error:  # the system has no thread to give
            self._end(attempt, "crashed", str(error))

    def _refusal(self, order: say.RunSkill) -> str | None:
        """Return why an order is not followed, None if it is."""
        if not self._log.fence(order.coordinator_epoch):
            return f"coordinator epoch {order.coordinator_epoch} is over, now {self._log.epoch}"
        if order.robot_epoch != self._robot_epoch:
            return f"the order is for epoch {order.robot_epoch}, this is {self._robot_epoch}"
        if (why := self._held()) is not None:
            return why
        if self.is_deaf:
            return _DEAF
        try:
            self._skills[order.skill].contract.check(order.values)
        except LoopwrightError as error:
            return str(error)
        return None

    # Running -------------------------------------------------------------------------------------

    def _run(self, attempt: Attempt) -> None:
        order = attempt.order
        overtime = threading.Timer(
            order.longest_s,
            attempt.cancel,
            ("timed-out", f"longer than {order.longest_s:g} s"),
        )
        overtime.daemon = True
        try:
            self._report(say.Started(robot=self.robot, intent=order.intent))
            overtime.start()
            claim, reason = self._runner.run(order, attempt.cancelled)
        except BaseException as error:  # noqa: BLE001 - a skill's own code; its crash is a report
            claim, reason = "crashed", f"{type(error).__name__}: {error}"
        finally:
            overtime.cancel()
        if claim == "cancelled" and attempt.because is not None:
            claim, reason = attempt.because
        self._end(attempt, claim, reason, self._sightings())

    def _end(self, attempt: Attempt, claim: say.Claim, reason: str, sightings: tuple = ()) -> None:
        """Take note that an attempt no longer runs, and tell how it ended."""
        with self._lock:
            self._running.pop(attempt.order.intent, None)
            if attempt.is_given_up:
                _log.warning("%s: %s stopped after all", self.robot, attempt.order.intent)
            else:
                self._tell_end(attempt, claim, reason, sightings)

    def _tell_end(self, attempt: Attempt, claim: say.Claim, reason: str, sightings: tuple) -> None:
        report = _ended(
            self.robot,
            attempt.order.intent,
            claim,
            reason,
            lasted_s=time.monotonic() - attempt.began_s,
            sightings=sightings,
        )
        # Nobody waits for the disk: what was not written counts as interrupted later.
        with self._failures.noted("the end of an attempt"):
            self._report(report)
        with suppress(StorageError, WorkspaceBusy):
            self._log.end(report)

    def _give_up(self) -> None:
        """Tell the truth about attempts that were told to stop and do not."""
        for attempt in list(self._running.values()):
            if attempt.is_given_up or not attempt.does_not_stop(STOPS_WITHIN_S):
                continue
            with self._lock:
                if attempt.order.intent not in self._running or attempt.because is None:
                    continue  # it has stopped meanwhile
                attempt.is_given_up = True
                claim, reason = attempt.because
                # That the robot is held is heard first, so that no other order comes to it.
                self._say_alive()
                self._tell_end(attempt, claim, f"{reason}; {self._held()}", ())

    def _cancel(self, intent: str, claim: say.Claim, reason: str) -> None:
        with self._lock:
            attempt = self._running.get(intent)
            if attempt is not None:
                attempt.cancel(claim, reason)
            else:
                self._answer(intent)

    def _cancel_all(self, claim: say.Claim, reason: str) -> None:
        for attempt in list(self._running.values()):
            attempt.cancel(claim, reason)

    # Holding -------------------------------------------------------------------------------------

    def _held(self) -> str | None:
        """Return why no order is taken; None if one may be."""
        if self._unlatched:
            return f"{self._unlatched}, which its driver failed to latch"
        for attempt in list(self._running.values()):
            if attempt.is_given_up:
                return (
                    f"{attempt.order.skill} does not stop; {self.robot} is held until it does, or "
                    "its agent is restarted"
                )
        return self._held_by_runner()

    def _held_by_runner(self) -> str | None:
        try:
            return self._runner.held()
        except BaseException as error:  # noqa: BLE001 - a driver; who cannot tell may not move
            return f"whether it may move cannot be told ({type(error).__name__})"

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
        try:
            return tuple(s.to_json() for s in self._runner.look())
        except BaseException:  # noqa: BLE001 - eyes are plug-ins; who is blind reports all the same
            return ()

    def _report(self, message: say.Message) -> None:
        self._bus.publish(say.REPORTS, message)

    def _say_alive(self) -> None:
        self._report(
            say.RobotPulse(
                robot=self.robot,
                incarnation=self.incarnation,
                running=tuple(self._running),
                held=self._held() or "",
            )
        )

    def _live(self) -> None:
        while not self._leaving.wait(PULSE_S):
            with self._failures.noted("pulse"):
                self._beat()

    def _beat(self) -> None:
        """See to it that what must stop stops, and say that the robot lives if it hears."""
        if self._unlatched:
            self._press(self._unlatched)
        is_deaf = self.is_deaf
        if is_deaf:
            self._cancel_all("stopped", _DEAF)
        elif time.monotonic() - self._heard_s > self._deadman_s:
            self._cancel_all("stopped", f"no coordinator for {self._deadman_s:g} s")
        self._give_up()
        if not is_deaf:  # or it would be counted on, and could not even be stopped
            self._say_alive()


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
        reason=reason.encode(errors="replace").decode(),  # what an error says may be no text
        lasted_s=lasted_s,
        sightings=sightings,
    )
