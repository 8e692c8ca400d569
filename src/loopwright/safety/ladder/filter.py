"""The filter: runs the rungs in order and says what may be applied, and why."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from loopwright.core.digest import digest_json, digest_tree
from loopwright.core.errors import InvalidConfig
from loopwright.safety.body import Body, Measured
from loopwright.safety.decision import Decision, Reason
from loopwright.safety.ladder.brake import Brake
from loopwright.safety.ladder.clamp import Clamp
from loopwright.safety.ladder.envelope import Envelope
from loopwright.safety.ladder.lookahead import LookAhead
from loopwright.safety.ladder.residual import Residual
from loopwright.safety.ladder.sanitise import Sanitise, are_numbers
from loopwright.safety.ladder.situation import Situation
from loopwright.safety.ladder.slew import Slew
from loopwright.safety.limits import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Rungs:
    """Which rungs stand; sanitising and the brake always do. To be less than all is for study."""

    clamp: bool = True
    envelope: bool = True
    slew: bool = True
    look_ahead: bool = True
    residual: bool = True

    def __post_init__(self) -> None:
        """Refuse a look-ahead that could not brake."""
        if self.look_ahead and not self.slew:
            raise InvalidConfig("the look-ahead rung brakes by the slew rung; it needs slew=True")


ALL = Rungs()


class SafetyFilter:
    """Between any policy and any actuator: one decision per control step.

    Pure computation: no clock of its own, no input or output. Requests may be anything and never
    make it raise.
    """

    def __init__(self, body: Body, limits: Limits, rungs: Rungs = ALL) -> None:
        """Build the ladder for a body.

        Raises:
            InvalidConfig: The limits are not of that body.
        """
        limits.check(body.spec)
        self.body, self.limits, self.rungs = body, limits, rungs
        self._now = Situation(body.spec, limits)
        self._command = np.zeros(body.spec.size)
        self._sanitise = Sanitise(limits)
        envelope = Envelope(limits, self._now)
        slew = Slew(limits, self._now, envelope if rungs.envelope else None)
        standing = (
            (rungs.clamp, Clamp(limits)),
            (rungs.envelope, envelope),
            (rungs.slew, slew),
            (rungs.look_ahead, LookAhead(body, limits, self._now, slew)),
        )
        self._ladder = tuple(rung for stands, rung in standing if stands)
        self._residual = Residual(limits, self._now)
        self._brake = Brake()
        self._announced = False
        self._time_s: float | None = None
        self._frozen_s = 0.0

    @property
    def latched(self) -> Reason | None:
        """Why the brake is latched, or None."""
        return self._brake.cause

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides: body, limits, rungs and the code of the ladder."""
        here = Path(__file__).parent
        return digest_json(
            {
                "body": asdict(self.body.spec),
                "limits": self.limits.digest,
                "rungs": asdict(self.rungs),
                "code": digest_tree(here, ".py"),
            }
        )

    def reset(self, measured: Measured) -> None:
        """Begin from a measured state, moving or not. A latched brake stays latched."""
        self._time_s = measured.time_s
        if self._sense(measured):
            self._follow()
        self._frozen_s = 0.0

    def latch(self, reason: Reason) -> None:
        """Stop from the next step on, for a reason from outside; the first reason stays."""
        self._brake.latch(reason)

    def release(self) -> None:
        """Allow motion again, from the state that is measured then."""
        self._brake.release()
        self._announced = False

    def step(self, request: object, request_time_s: float, measured: Measured) -> Decision:
        """Decide what may be applied in this control step.

        Args:
            request: What the policy asks for: an array ``(N,)`` of plain numbers. Anything else
                is taken as the wish to stand still.
            request_time_s: When it asked, by the clock of the measurements.
            measured: The newest measurement; one that is broken or old latches the brake.
        """
        if self._time_s is None:
            self.reset(measured)
        if not self._sense(measured):
            return self._stopped(margin=-1.0)
        reason = self._climb(request, request_time_s)
        if self.rungs.residual and self._residual.trips(self._now):
            self._brake.latch(Reason.RESIDUAL)
        if self._brake.cause is not None:
            self._follow()
            return self._stopped(self._now.margin)
        np.copyto(self._now.previous, self._command)
        return Decision(
            applied=self._command.copy(), reason=reason, margin=self._now.margin, stopping=False
        )

    def _climb(self, request: object, request_time_s: float) -> Reason:
        """Run the rungs over a request and return the last that altered it."""
        now, command = self._now, self._command
        unusable = self._sanitise.read(request, request_time_s, command, now)
        reason = unusable
        for rung in self._ladder:
            found = rung.apply(command, now)
            # What is done to the wish to stand still is how it is braked, not why.
            if unusable is Reason.UNALTERED and found is not Reason.UNALTERED:
                reason = found
        return reason

    def _sense(self, measured: Measured) -> bool:
        """Take in a measurement; latch the brake if it is broken or old."""
        shape = self._command.shape
        if not (
            are_numbers(measured.position, shape)
            and are_numbers(measured.speed, shape)
            and math.isfinite(measured.time_s)
        ):
            self._brake.latch(Reason.NOT_FINITE)
            return False
        self._watch_time(measured.time_s)
        self._now.update(measured, self.body.place(measured.position))
        return True

    def _watch_time(self, time_s: float) -> None:
        """Latch the brake when measurements stand still in time, or leave a gap."""
        assert self._time_s is not None
        passed_s = time_s - self._time_s
        self._frozen_s = 0.0 if passed_s > 0 else self._frozen_s + self._now.period_s
        if max(passed_s, self._frozen_s) > self.limits.stale_s:
            self._brake.latch(Reason.STALE)
        self._time_s = max(time_s, self._time_s)

    def _follow(self) -> None:
        """Take the motion as measured for the one that was commanded."""
        now = self._now
        now.previous[now.is_speed] = now.measured.speed[now.is_speed]
        self._residual.restart(now)

    def _stopped(self, margin: float) -> Decision:
        """Say that the robot must be in its safe state: first why, then that it stays so."""
        assert self._brake.cause is not None
        reason = Reason.BRAKED if self._announced else self._brake.cause
        self._announced = True
        applied = np.where(self._now.is_speed, 0.0, self._now.previous)
        return Decision(applied=applied, reason=reason, margin=margin, stopping=True)
