"""What a step record is made of: the table, and how a step becomes bytes.

The table goes into the header of every flight, so that a reader needs nothing but the file. The
fields stand one after the other, little-endian, without padding; after them follow the bytes of an
excerpt when the request was malformed.

Shapes: N commanded coordinates.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from loopwright.safety.blackbox.requests import Form, as_command, excerpt

FieldType = Literal["u1", "u2", "u4", "u8", "f8"]
_STRUCT_CODES: dict[str, str] = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "f8": "d"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One column of the record."""

    name: str
    type: FieldType
    """As NumPy says it: ``u1`` to ``u8`` unsigned integers, ``f8`` a float64."""
    unit: str = ""
    each: bool = False
    """Whether there is one number for each commanded coordinate, in their order."""
    meaning: str = ""

    def to_json(self, size: int) -> dict[str, Any]:
        """Return the row of the table for a robot of N coordinates."""
        return {
            "name": self.name,
            "type": "<" + self.type,
            "count": size if self.each else 1,
            "each": self.each,
            "unit": self.unit,
            "meaning": self.meaning,
        }


FIELDS: tuple[Field, ...] = (
    Field(name="sequence", type="u8", meaning="number of the control step"),
    Field(name="monotonic_s", type="f8", unit="s", meaning="clock of the control loop"),
    Field(name="request_age_s", type="f8", unit="s", meaning="infinite where there was none"),
    Field(name="sensor_age_s", type="f8", unit="s", meaning="age of position and speed"),
    Field(name="margin", type="f8", meaning="1 far from every limit, 0 at one, negative beyond"),
    Field(name="lease_left_s", type="f8", unit="s", meaning="infinite where none is held"),
    Field(name="directive_epoch", type="u8", meaning="of the newest directive that was known"),
    Field(name="reason", type="u2", meaning="why the request was altered; 0 where it was not"),
    Field(name="stopping", type="u1", meaning="1 where the robot was to be in its safe state"),
    Field(name="request_form", type="u1", meaning="0 numbers, 1 none, 2 bytes, 3 array, 4 words"),
    Field(name="request_bytes", type="u4", unit="bytes", meaning="length before the excerpt"),
    Field(name="requested", type="f8", each=True, meaning="NaN where it was no N numbers"),
    Field(name="position", type="f8", each=True, meaning="measured"),
    Field(name="speed", type="f8", each=True, meaning="measured"),
    Field(name="applied", type="f8", each=True, meaning="for the actuators, unless stopping"),
)
"""Mandatory: a recording that lacks one of them is refused."""


class StepFacts(Protocol):
    """What is recorded of a control step; the units are those of the body."""

    @property
    def sequence(self) -> int:
        """Number of the control step; rises by 1."""
        ...

    @property
    def monotonic_s(self) -> float:
        """Clock of the control loop."""
        ...

    @property
    def requested(self) -> Any:
        """What the policy asked for, whatever that is; an array ``(N,)`` where all is well."""
        ...

    @property
    def request_age_s(self) -> float:
        """Infinite where there was no request."""
        ...

    @property
    def position(self) -> np.ndarray:
        """Measured, ``(N,)``."""
        ...

    @property
    def speed(self) -> np.ndarray:
        """Measured, ``(N,)``."""
        ...

    @property
    def sensor_age_s(self) -> float:
        """Age of the measurement."""
        ...

    @property
    def applied(self) -> np.ndarray:
        """What the actuators get, ``(N,)``; ignored by them while ``stopping``."""
        ...

    @property
    def reason(self) -> int:
        """A :class:`~loopwright.safety.decision.Reason`."""
        ...

    @property
    def margin(self) -> float:
        """Of the decision."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the robot must be in its safe state."""
        ...

    @property
    def directive_epoch(self) -> int:
        """Of the newest directive known."""
        ...

    @property
    def lease_left_s(self) -> float:
        """Infinite where no lease is held."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StepRecord:
    """A control step, as :class:`StepFacts` asks for it."""

    sequence: int
    monotonic_s: float
    requested: Any
    request_age_s: float
    position: np.ndarray
    speed: np.ndarray
    sensor_age_s: float
    applied: np.ndarray
    reason: int
    margin: float
    stopping: bool
    directive_epoch: int = 0
    lease_left_s: float = float("inf")


class Layout:
    """Makes the bytes of steps of a robot with N coordinates."""

    def __init__(self, size: int) -> None:
        """Prepare for ``size`` coordinates."""
        self._shape = (size,)
        codes = "".join(_STRUCT_CODES[field.type] for field in FIELDS if not field.each)
        self._scalars = struct.Struct("<" + codes)
        self._nothing = np.full(size, np.nan).tobytes()

    def pack(self, step: StepFacts) -> bytes:
        """Return the payload of a step.

        Measured or applied values of another shape than ``(N,)`` are recorded as NaN.
        """
        form, raw, length = Form.NUMBERS, b"", 0
        command = as_command(step.requested, self._shape)
        if command is None:
            form, raw, length = excerpt(step.requested)
        return b"".join(
            (
                self._scalars.pack(
                    step.sequence,
                    step.monotonic_s,
                    step.request_age_s,
                    step.sensor_age_s,
                    step.margin,
                    step.lease_left_s,
                    step.directive_epoch,
                    step.reason,
                    step.stopping,
                    form,
                    min(length, 0xFFFFFFFF),
                ),
                self._nothing if command is None else command,
                self._column(step.position),
                self._column(step.speed),
                self._column(step.applied),
                raw,
            )
        )

    def _column(self, values: np.ndarray) -> bytes:
        column = as_command(values, self._shape)
        return self._nothing if column is None else column


def table(size: int) -> list[dict[str, Any]]:
    """Return the table of fields for a robot with N coordinates, as plain data."""
    return [field.to_json(size) for field in FIELDS]


def dtype_of(rows: list[dict[str, Any]]) -> np.dtype:
    """Return what NumPy calls a table of fields that came out of a header."""
    return np.dtype(
        [
            (row["name"], row["type"], (row["count"],))
            if row["each"]
            else (row["name"], row["type"])
            for row in rows
        ]
    )
