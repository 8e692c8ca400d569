"""Running a script again: requests through a filter on a plant, from a saved state.

Shapes: N coordinates, K steps of the script.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from loopwright.safety.body import Body, Measured, Plant
from loopwright.safety.decision import Decision
from loopwright.safety.ladder import SafetyFilter
from loopwright.safety.limits import Limits
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.event import EventKind
from loopwright.safety.occurrence.script import Request, Script, Segment, length_of, steps_of
from loopwright.safety.occurrence.violation import LimitWatch

_LEAST_WATCHED_STEPS = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class Sought:
    """What a run is watched for."""

    kind: EventKind
    what: str
    """Name of the limit, or of the reason of the brake; ``"margin"``."""
    limits: Limits
    """What counts as exceeded, whatever limits the filter keeps."""
    least_margin: float = 0.0
    """Of a thin margin."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """What came of a run."""

    measured: np.ndarray
    """float64 ``(T, 2 N)``: positions and speeds before each step and after the last; it ends
    early where the event happened."""
    event_after: int | None
    """How many requests had been decided on when it happened; None where it did not."""


class Stage:
    """A robot on which scripts are run, one after another."""

    def __init__(self, body: Body, plant: Plant, sought: Sought) -> None:
        """Take a robot, and what to watch it for."""
        self.body, self.plant, self.sought = body, plant, sought
        self._watch = LimitWatch(body, sought.limits)
        self.runs = 0
        """How many scripts were run."""

    def run(self, state: bytes, script: Script, configuration: Configuration) -> Outcome:
        """Run a script from a saved state with a filter in its first state, until it happens.

        Args:
            state: Of the plant.
            script: What is asked.
            configuration: Of the filter.
        """
        self.runs += 1
        safety_filter = configuration.make_filter(self.body)
        states: list[np.ndarray] = []
        found = None
        for measured, decision in self._steps(state, script, safety_filter):
            states.append(np.concatenate([measured.position, measured.speed]))
            if self._happens(measured, decision, first=len(states) == 1):
                found = len(states) - (self.sought.kind == "violation")
            if found is not None or len(states) > length_of(script):
                break
        return Outcome(measured=np.array(states), event_after=found)

    def is_prevented(self, state: bytes, script: Script, configuration: Configuration) -> bool:
        """Tell whether with a configuration it does not happen, nor for a while afterwards.

        The last request is held for as long again as the script takes: to put something off is
        not to prevent it.
        """
        last = script[-1]
        steps = max(_LEAST_WATCHED_STEPS, length_of(script))
        held = Segment(request=last.request, steps=steps, age_s=last.age_s)
        return self.run(state, (*script, held), configuration).event_after is None

    def _steps(
        self, state: bytes, script: Script, safety_filter: SafetyFilter
    ) -> Iterator[tuple[Measured, Decision | None]]:
        """Yield what is measured before each step with what is decided, and what is left at last.

        Nothing moves before the step is taken, so the consumer may stop at any of them.
        """
        measured, begins = self.plant.load(state), True
        for request, age_s in steps_of(script):
            if request == "stop":
                yield measured, None
                measured, begins = self.plant.stop(), True
                continue
            if begins:
                safety_filter.reset(measured)
                begins = False
            asked = _array(request)
            decision = safety_filter.step(asked, measured.time_s - age_s, measured)
            yield measured, decision
            stops = decision.stopping
            measured = self.plant.stop() if stops else self.plant.step(decision.applied)
        yield measured, None

    def _happens(self, measured: Measured, decision: Decision | None, *, first: bool) -> bool:
        """Tell whether what is sought shows; a state that one begins in is nobody's doing."""
        sought = self.sought
        if sought.kind == "violation":
            return not first and sought.what in self._watch.exceeded(measured)
        if decision is None:
            return False
        if sought.kind == "margin":
            return decision.margin < sought.least_margin
        return decision.stopping and decision.reason.name == sought.what


def _array(request: Request) -> np.ndarray | None:
    return np.array(request) if isinstance(request, tuple) else None
