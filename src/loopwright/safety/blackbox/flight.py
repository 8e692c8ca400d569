"""Reading a flight: by the table in its header, so that old recordings stay legible."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.blackbox.fields import dtype_of
from loopwright.safety.blackbox.header import (
    KIND_NOTE,
    KIND_SNAPSHOT,
    KIND_STEP,
    FlightHeader,
    require_mandatory,
)
from loopwright.safety.blackbox.recorder import SNAPSHOT_HEAD
from loopwright.safety.chain import Frame, read_chain


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """An event in words."""

    monotonic_s: float
    channel: str
    text: str
    record: int
    """Its number in the chain: what came before what, whatever the clocks say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened in a flight."""

    record: int
    """Number in the chain of what tells of it."""
    monotonic_s: float
    channel: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The whole state of the integration at one moment."""

    next_step: int
    """Number of the step whose command was applied to exactly this state."""
    monotonic_s: float
    state: bytes
    record: int
    """Its number in the chain."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Flight:
    """A recording, read whole. Its signatures are not checked: verify the chain for that."""

    path: Path
    header: FlightHeader
    raw_header: Mapping[str, Any]
    """The header as it is in the file, with the table of fields."""
    id: str
    """Digest of the first record, in hexadecimal."""
    steps: np.ndarray
    """Structured ``(T,)``, one row a step in the order of recording; the columns are those of the
    table in the header: ``flight.steps["applied"]`` is float64 ``(T, N)``."""
    records: np.ndarray
    """int64 ``(T,)``: the numbers of the steps in the chain."""
    excerpts: Mapping[int, bytes]
    """Row to what was recorded of a malformed request."""
    notes: tuple[Note, ...]
    snapshots: tuple[Snapshot, ...]
    torn_bytes: int
    """Length of the beginning of a record at the end: the writer was killed in it."""

    def events(self) -> Iterator[Event]:
        """Yield all notes and every change of reason or stopping, as they were recorded."""
        notes = [
            Event(
                record=note.record,
                monotonic_s=note.monotonic_s,
                channel=note.channel,
                text=note.text,
            )
            for note in self.notes
        ]
        return iter(sorted([*notes, *_changes(self)], key=lambda event: event.record))

    def utc_ns(self, monotonic_s: float) -> int:
        """Return the time of day of a moment of the loop, in nanoseconds since 1970 (UTC).

        Right as far as the two clocks went alike since the flight began.
        """
        clock = self.raw_header["clock"]
        return int(clock["utc_ns"]) + round((monotonic_s - clock["monotonic_s"]) * 1e9)

    def reason_name(self, reason: int) -> str:
        """Return the name that the header gives to a reason code."""
        names = {code: name for name, code in self.raw_header["reasons"].items()}
        return names.get(reason, f"reason {reason}")


def read_flight(path: Path) -> Flight:
    """Read a recording.

    Raises:
        DamagedData: It is missing, no flight, or not what was written.
    """
    chain = read_chain(path)
    try:
        if not isinstance(chain.header, Mapping):
            raise InvalidConfig("its header is none of a flight")
        require_mandatory(chain.header)
        header = FlightHeader.from_json(chain.header)
        row = dtype_of(chain.header["fields"])
    except (InvalidConfig, KeyError, TypeError, ValueError) as error:
        raise DamagedData(f"{path} is no flight: {error}") from error
    reading = _Reading(path, row)
    for frame in chain.frames():
        reading.take(frame)
    return Flight(
        path=path,
        header=header,
        raw_header=chain.header,
        id=chain.id,
        steps=np.frombuffer(b"".join(reading.fixed), dtype=row),
        records=np.array(reading.records, np.int64),
        excerpts=reading.excerpts,
        notes=tuple(reading.notes),
        snapshots=tuple(reading.snapshots),
        torn_bytes=len(chain.torn),
    )


class _Reading:
    """What has been read of a flight."""

    def __init__(self, path: Path, row: np.dtype) -> None:
        self._path, self._row_bytes = path, row.itemsize
        self.fixed: list[bytes] = []
        self.records: list[int] = []
        self.excerpts: dict[int, bytes] = {}
        self.notes: list[Note] = []
        self.snapshots: list[Snapshot] = []

    def take(self, frame: Frame) -> None:
        """Take in the next record; kinds of later versions are passed over."""
        number, payload = frame.sequence, frame.payload
        try:
            if frame.kind == KIND_STEP:
                self._take_step(number, payload)
            elif frame.kind == KIND_NOTE:
                self.notes.append(Note(**json.loads(payload), record=number))
            elif frame.kind == KIND_SNAPSHOT:
                step, time_s = SNAPSHOT_HEAD.unpack_from(payload)
                state = payload[SNAPSHOT_HEAD.size :]
                self.snapshots.append(
                    Snapshot(next_step=step, monotonic_s=time_s, state=state, record=number)
                )
        except (ValueError, TypeError, struct.error) as error:
            raise DamagedData(f"{self._path}: record {number} is illegible: {error}") from error

    def _take_step(self, number: int, payload: bytes) -> None:
        if len(payload) < self._row_bytes:
            raise ValueError(f"{len(payload)} bytes; the header says {self._row_bytes}")
        if len(payload) > self._row_bytes:
            self.excerpts[len(self.fixed)] = payload[self._row_bytes :]
        self.fixed.append(payload[: self._row_bytes])
        self.records.append(number)


def _changes(flight: Flight) -> Iterator[Event]:
    """Yield the steps whose reason or stopping is not that of the step before."""
    steps = flight.steps
    states = list(zip(steps["reason"].tolist(), steps["stopping"].tolist(), strict=True))
    for row, (state, before) in enumerate(zip(states, [(0, 0), *states], strict=False)):
        if state == before:
            continue
        reason, stopping = state
        word = "stopping" if stopping else "moving"
        yield Event(
            record=int(flight.records[row]),
            monotonic_s=float(steps["monotonic_s"][row]),
            channel="filter",
            text=f"step {steps['sequence'][row]}: {flight.reason_name(reason)}, {word}",
        )
