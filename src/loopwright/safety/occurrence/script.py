"""A script: what a policy asked for, step by step, as few different requests as needed.

Shapes: N coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from loopwright.core.errors import DamagedData
from loopwright.safety.blackbox import Flight
from loopwright.safety.decision import Reason

Numbers = tuple[float, ...]
Request = Numbers | None | Literal["stop"]
"""N numbers; None for what was no N numbers (all of that is one to the filter); ``"stop"`` where
something outside the filter kept the robot in its safe state."""

_NAMES = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_STANDS = Reason.BRAKED
"""From here on reasons are given from outside the filter, but for the latch that stays shut."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A request, kept for some control steps."""

    request: Request
    steps: int
    age_s: float = 0.0
    """How much older than the measurement the request is."""

    def __post_init__(self) -> None:
        """Refuse a segment that takes no time."""
        if self.steps < 1:
            raise DamagedData(f"a request for {self.steps} steps; expected 1 or more")

    @property
    def wish(self) -> tuple[object, ...]:
        """What makes two segments the same; NaN is the same as NaN here."""
        numbers = self.request if isinstance(self.request, str | None) else repr(self.request)
        return numbers, self.age_s

    def to_json(self) -> dict[str, Any]:
        """Return plain data; numbers without a JSON form are written by name."""
        request: Any = self.request
        if isinstance(request, tuple):
            request = [value if math.isfinite(value) else str(value) for value in request]
        return {"request": request, "steps": self.steps, "age_s": self.age_s}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Segment:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no segment.
        """
        try:
            request = data["request"]
            if isinstance(request, list):
                request = tuple(
                    _NAMES[value] if isinstance(value, str) else float(value) for value in request
                )
            elif request not in (None, "stop"):
                raise ValueError(f"request {request!r}")
            return cls(request=request, steps=int(data["steps"]), age_s=float(data["age_s"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedData(f"this is no request of a script: {error}") from error


Script = tuple[Segment, ...]


def steps_of(script: Script) -> Iterator[tuple[Request, float]]:
    """Yield request and age of every control step."""
    for segment in script:
        for _ in range(segment.steps):
            yield segment.request, segment.age_s


def length_of(script: Script) -> int:
    """Return for how many control steps there is a request."""
    return sum(segment.steps for segment in script)


def joined(segments: Sequence[Segment]) -> Script:
    """Return the same script with equal neighbours made one."""
    script: list[Segment] = []
    for segment in segments:
        if script and script[-1].wish == segment.wish:
            last = script.pop()
            segment = Segment(
                request=last.request, steps=last.steps + segment.steps, age_s=last.age_s
            )
        script.append(segment)
    return tuple(script)


def shortened(script: Script, steps: int) -> Script:
    """Return the beginning of a script."""
    kept: list[Segment] = []
    for segment in script:
        if steps <= 0:
            break
        here = min(segment.steps, steps)
        kept.append(Segment(request=segment.request, steps=here, age_s=segment.age_s))
        steps -= here
    return tuple(kept)


def without_ages(script: Script) -> Script:
    """Return the script as if every request were as fresh as the measurement."""
    return joined([Segment(request=item.request, steps=item.steps) for item in script])


def keeping(script: Script, changes: Sequence[int]) -> Script:
    """Return the script with only some of its changes: elsewhere the request before is kept.

    Args:
        script: What was asked.
        changes: Which segments after the first still begin with their own request.
    """
    kept: list[Segment] = []
    for index, segment in enumerate(script):
        source = segment if index == 0 or index in changes else kept[-1]
        kept.append(Segment(request=source.request, steps=segment.steps, age_s=source.age_s))
    return joined(kept)


def script_of(flight: Flight, first_row: int, end_row: int) -> Script:
    """Return what was asked in some rows of a flight, the last one excluded."""
    outside = _stopped_from_outside(flight)
    segments = []
    for row, stopped in zip(
        flight.steps[first_row:end_row], outside[first_row:end_row], strict=True
    ):
        segments.append(_segment("stop" if stopped else _request(row), row))
    return joined(segments)


def _segment(request: Request, row: np.void) -> Segment:
    age_s = float(row["request_age_s"] - row["sensor_age_s"])
    return Segment(request=request, steps=1, age_s=age_s if math.isfinite(age_s) else 0.0)


def _request(row: np.void) -> Numbers | None:
    return None if row["request_form"] else tuple(row["requested"].tolist())


def _stopped_from_outside(flight: Flight) -> list[bool]:
    """Return for each row whether it was not the filter that kept the robot in its safe state.

    A stretch in the safe state is the filter's own if the filter's reason began it.
    """
    outside, own = [], False
    for row in flight.steps:
        if not row["stopping"]:
            own = False
        elif row["reason"] < _STANDS:
            own = True
        outside.append(bool(row["stopping"]) and not own)
    return outside
