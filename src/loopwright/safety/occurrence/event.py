"""What opens an occurrence: a rule over the records of a flight.

A limit exceeded by the measured state, a brake that tripped, or a margin below a threshold. What
was *requested* opens nothing: absurd requests are what the filter is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.blackbox import Flight
from loopwright.safety.body import Body, Measured
from loopwright.safety.decision import Reason
from loopwright.safety.limits import Limits
from loopwright.safety.occurrence.violation import LimitWatch

EventKind = Literal["violation", "brake", "margin"]
KINDS: tuple[EventKind, ...] = get_args(EventKind)
"""The gravest first."""

ORDERED_STOPS = (Reason.BRAKED, Reason.LEASE, Reason.GROUNDED, Reason.PEER)
"""Stops that open nothing: rest, and what was ordered or is on record with another robot."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpeningRule:
    """When a flight is an occurrence."""

    violations: bool = True
    """A limit was exceeded by the measured state."""
    brakes: bool = True
    """The robot had to stop, for a reason that is none of :data:`ORDERED_STOPS`."""
    least_margin: float = 0.02
    """A smaller margin opens one. Own choice: the least that the full ladder left the simulated arm
    was 0.029, under the five policies of ``benchmarks/safety_adversaries`` in 30,000 steps."""

    def __post_init__(self) -> None:
        """Refuse a threshold that every step or no step would be below."""
        if not -1.0 <= self.least_margin < 1.0:
            raise InvalidConfig(f"least_margin is {self.least_margin}; expected from -1 to below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that a flight shows, from its first to its last step."""

    kind: EventKind
    what: str
    """Name of the limit, or of the reason; ``"margin"``."""
    first_step: int
    """Number of the control step."""
    last_step: int
    steps: int
    """In how many it shows."""
    worst: float
    """By how much the limit was exceeded, in its unit; else the smallest margin, if known."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no event.
        """
        try:
            event = cls(**data)
            if event.kind not in KINDS:
                raise ValueError(f"kind {event.kind!r}")
        except (TypeError, ValueError) as error:
            raise DamagedData(f"this is no event of a flight: {error}") from error
        return event

    def __str__(self) -> str:
        """Say it in one line."""
        span = f"steps {self.first_step} to {self.last_step}, {self.steps} in all"
        return {
            "violation": f"limit exceeded: {self.what} by {self.worst:.3g} ({span})",
            "brake": f"brake tripped: {self.what} ({span})",
            "margin": f"thin margin: {self.worst:.3g} ({span})",
        }[self.kind]


def find_events(flight: Flight, body: Body, rule: OpeningRule) -> tuple[Event, ...]:
    """Return what a flight shows by a rule, the gravest first, and of those the earliest.

    Args:
        flight: What was recorded.
        body: Of the robot, for where its watched points were.
        rule: What to look for.

    Raises:
        InvalidConfig: The body is another one, or the header holds no limits to judge by.
    """
    limits = limits_of(flight, body)
    found: dict[tuple[EventKind, str], list[tuple[int, float]]] = {}
    for kind, what, step, amount in _signs(flight, LimitWatch(body, limits), rule):
        found.setdefault((kind, what), []).append((step, amount))
    events = [
        Event(
            kind=kind,
            what=what,
            first_step=signs[0][0],
            last_step=signs[-1][0],
            steps=len(signs),
            worst=(max if kind == "violation" else min)(amount for _, amount in signs),
        )
        for (kind, what), signs in found.items()
    ]
    return tuple(sorted(events, key=lambda event: (KINDS.index(event.kind), event.first_step)))


def limits_of(flight: Flight, body: Body) -> Limits:
    """Return the limits that a flight was under.

    Raises:
        InvalidConfig: The body is another one, or the header holds no limits of it.
    """
    if body.spec.coordinates != flight.header.body.coordinates:
        raise InvalidConfig(
            f"this body is {body.spec.robot}, the flight is of {flight.header.body.robot}"
        )
    limits = Limits.from_json(flight.header.limits)
    limits.check(body.spec)
    return limits


def _signs(
    flight: Flight, watch: LimitWatch, rule: OpeningRule
) -> Iterator[tuple[EventKind, str, int, float]]:
    """Yield kind, name, step and amount of everything that the rule looks for."""
    steps = flight.steps
    numbers, margins, reasons = (steps[name].tolist() for name in ("sequence", "margin", "reason"))
    seen = np.isfinite(steps["sensor_age_s"])
    if rule.violations:
        for row in np.flatnonzero(seen):
            measured = Measured(
                position=steps["position"][row], speed=steps["speed"][row], time_s=0.0
            )
            for what, amount in watch.exceeded(measured).items():
                yield "violation", what, numbers[row], amount
    if rule.brakes:
        # A robot begins at rest, so a first row that stops is no trip.
        for row in np.flatnonzero(np.diff(steps["stopping"].astype(np.int8)) > 0) + 1:
            if reasons[row] not in ORDERED_STOPS:
                amount = margins[row] if np.isfinite(margins[row]) else -1.0
                yield "brake", flight.reason_name(reasons[row]), numbers[row], amount
    for row in np.flatnonzero(seen & (steps["margin"] < rule.least_margin)):
        yield "margin", "margin", numbers[row], margins[row]
