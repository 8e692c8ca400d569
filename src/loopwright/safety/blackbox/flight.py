"""Reading a flight: by the table in its header, so that old recordings stay legible."""

from __future__ import annotations

import json
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
from loopwright.safety.chain import read_chain


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """An event in words."""

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
    excerpts: Mapping[int, bytes]
    """Row to what was recorded of a malformed request."""
    notes: tuple[Note, ...]
    snapshots: tuple[Snapshot, ...]
    torn_bytes: int
    """Length of the beginning of a record at the end: the writer was killed in it."""

    def events(self) -> Iterator[tuple[float, str, str]]:
        """Yield time, channel and text of all notes, and of each change of reason or stopping."""
        changes = list(_changes(self))
        notes = [(note.monotonic_s, note.channel, note.text) for note in self.notes]
        return iter(sorted(changes + notes, key=lambda event: event[0]))

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
    fixed: list[bytes] = []
    excerpts: dict[int, bytes] = {}
    notes: list[Note] = []
    snapshots: list[Snapshot] = []
    for kind, payload in chain:
        if kind == KIND_STEP:
            if len(payload) < row.itemsize:
                raise DamagedData(f"{path}: step {len(fixed)} is shorter than its header says")
            if len(payload) > row.itemsize:
                excerpts[len(fixed)] = payload[row.itemsize :]
            fixed.append(payload[: row.itemsize])
        elif kind == KIND_NOTE:
            notes.append(Note(**json.loads(payload)))
        elif kind == KIND_SNAPSHOT:
            step, time_s = SNAPSHOT_HEAD.unpack_from(payload)
            state = payload[SNAPSHOT_HEAD.size :]
            snapshots.append(Snapshot(next_step=step, monotonic_s=time_s, state=state))
    return Flight(
        path=path,
        header=header,
        raw_header=chain.header,
        id=chain.id,
        steps=np.frombuffer(b"".join(fixed), dtype=row),
        excerpts=excerpts,
        notes=tuple(notes),
        snapshots=tuple(snapshots),
        torn_bytes=len(chain.torn),
    )


def _changes(flight: Flight) -> Iterator[tuple[float, str, str]]:
    before = (0, 0)
    for reason, stopping, time_s, sequence in zip(
        flight.steps["reason"].tolist(),
        flight.steps["stopping"].tolist(),
        flight.steps["monotonic_s"].tolist(),
        flight.steps["sequence"].tolist(),
        strict=True,
    ):
        if (reason, stopping) != before:
            state = "stopping" if stopping else "moving"
            yield time_s, "filter", f"step {sequence}: {flight.reason_name(reason)}, {state}"
        before = (reason, stopping)
