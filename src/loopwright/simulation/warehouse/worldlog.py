"""What the motors of the warehouse were told, step by step, so that it can all happen again.

A log holds the commands of every control step and, now and then, the whole state of the physics.
From these everything else follows exactly: stepping on from a state with the commands that came
after it gives the same positions, contacts and pictures. A killed world loses no step that another
process could have seen the effect of; a record cut short at the end is none.

::

    line of JSON                    format, physics engine, digest of the model
    record, record, ...             head (length, kind, CRC-32, step, clocks), then float64s
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple

import mujoco
import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import DamagedData
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.model import arms_of, coordinates_of, scene
from loopwright.simulation.warehouse.physics import Warehouse

FORMAT = "warehouse world log/v1"
SUFFIX = ".world"
MOMENT_EVERY_STEPS = 500
_BEAT_EVERY_STEPS = 50
_HEAD = struct.Struct("<IBxxxIQdd")
_LONGEST_BYTES = 1 << 20
_SIZES = {name: len(coordinates_of(name)) + len(arms_of(name)) for name in layout.ROBOTS}

Commands = Mapping[str, np.ndarray | None]
"""Robot to what its motors follow, float64 ``(N,)``; None where it stands by itself."""


class _Kind(IntEnum):
    MOMENT = 1
    COMMANDS = 2
    BEAT = 3


def engine() -> dict[str, str]:
    """Return what the physics of a log depends on."""
    return {
        "format": FORMAT,
        "mujoco": mujoco.__version__,
        "model": digest_bytes(scene().encode()),
    }


def new_log(folder: Path) -> Path:
    """Return where the log of a world that begins now is kept."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return folder / f"{now}-{os.getpid()}{SUFFIX}"


class WorldLogWriter:
    """Writes the log of a world that runs."""

    def __init__(self, path: Path) -> None:
        """Begin a new log.

        Raises:
            FileExistsError: There is one already.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._write(json.dumps(engine()).encode() + b"\n")
        self._last: bytes | None = None
        self._step = 0
        self._moment_at: int | None = None

    def step(self, world: Warehouse, commands: Commands) -> None:
        """Write down a step that is about to be made."""
        if self._moment_at is None or self._step - self._moment_at >= MOMENT_EVERY_STEPS:
            self._append(_Kind.MOMENT, world.moment().tobytes())
            self._moment_at = self._step
        payload = _pack(commands)
        if payload != self._last:
            self._append(_Kind.COMMANDS, payload)
            self._last = payload
        elif self._step % _BEAT_EVERY_STEPS == 0:
            self._append(_Kind.BEAT, b"")
        self._step += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _append(self, kind: _Kind, payload: bytes) -> None:
        self._write(_record(kind, (self._step, time.time(), time.monotonic()), payload))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]


class Place(NamedTuple):
    """Where a log can be read from without what came before."""

    state_byte: int
    """Of the record with the state of the physics."""
    commands_byte: int | None
    """Of the record with the commands that hold there; None if there were none yet."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WorldLog:
    """A log, read whole or from a place on."""

    path: Path
    steps: np.ndarray
    """int64 ``(R,)``: steps of the records, in order."""
    wall_s: np.ndarray
    """float64 ``(R,)``: time of day of each record."""
    monotonic_s: np.ndarray
    """float64 ``(R,)``: the machine's clock at each record."""
    moments: Mapping[int, np.ndarray]
    """Step to the state before it."""
    commands: Mapping[int, Commands]
    """Step to what holds from it on."""
    changes: np.ndarray
    """int64 ``(C,)``: the steps of ``commands``, in order."""
    places: Mapping[int, Place]
    """Step to where in the file its state is."""

    @property
    def end(self) -> int:
        """One after the last step that is known."""
        return int(self.steps[-1]) + 1 if len(self.steps) else 0

    def step_at(self, wall_s: float) -> int:
        """Return the step that was made at a time of day, within the log."""
        found = np.interp(wall_s, self.wall_s, self.steps)
        return int(np.clip(found, 0, max(0, self.end - 1)))

    def covers(self, wall_s: float) -> bool:
        """Tell whether the world ran at a time of day."""
        return bool(len(self.steps)) and self.wall_s[0] <= wall_s <= self.wall_s[-1] + 1.0

    def wall_at(self, step: int) -> float:
        """Return the time of day at which a step was made."""
        return float(np.interp(step, self.steps, self.wall_s))

    def monotonic_at(self, step: int) -> float:
        """Return the machine's clock when a step was made."""
        return float(np.interp(step, self.steps, self.monotonic_s))

    def commands_at(self, begin: int, end: int) -> Iterator[Commands]:
        """Yield what the motors followed in each step of a stretch."""
        for step in range(begin, end):
            at = int(np.searchsorted(self.changes, step, side="right")) - 1
            yield self.commands[int(self.changes[at])] if at >= 0 else {}

    def write_part(self, path: Path, begin: int, end: int) -> str:
        """Write a stretch as a log of its own and return the digest of the file.

        It begins with the state before ``begin``, so it repeats without what came earlier.
        """
        raw = bytearray(json.dumps(engine()).encode() + b"\n")
        raw += _record(_Kind.MOMENT, self._clocks(begin), self.moment_at(begin).tobytes())
        last: bytes | None = None
        for step, commands in enumerate(self.commands_at(begin, end), begin):
            payload = _pack(commands)
            if payload != last:
                raw += _record(_Kind.COMMANDS, self._clocks(step), payload)
                last = payload
        raw += _record(_Kind.BEAT, self._clocks(end - 1), b"")
        path.write_bytes(raw)
        return digest_bytes(bytes(raw))

    def _clocks(self, step: int) -> tuple[int, float, float]:
        wall_s = float(np.interp(step, self.steps, self.wall_s))
        return step, wall_s, self.monotonic_at(step)

    def moment_at(self, step: int) -> np.ndarray:
        """Return the state of the world before a step, exactly.

        Raises:
            DamagedData: The log does not reach there, or does not repeat.
        """
        world = Warehouse()
        for _ in self.replay(world, step, step):
            pass
        return world.moment()

    def replay(self, world: Warehouse, begin: int, end: int) -> Iterator[Commands]:
        """Bring a world to a step and go on from there; it is yielded to before each step.

        Args:
            world: Taken to ``begin``; stepped whenever the next is asked for.
            begin: Step before which to begin.
            end: Step before which to end.

        Yields:
            The commands of the step that comes next.

        Raises:
            DamagedData: The log does not reach there, or does not repeat: another build of the
                physics engine wrote it, or bytes were changed.
        """
        before = [step for step in self.moments if step <= begin]
        if not before or end > self.end:
            raise DamagedData(f"{self.path} knows the steps up to {self.end}, not {begin} to {end}")
        first = max(before)
        world.restore(self.moments[first])
        for step, commands in enumerate(self.commands_at(first, end), first):
            known = self.moments.get(step)
            if known is not None and not np.array_equal(known, world.moment()):
                raise DamagedData(
                    f"{self.path} does not repeat: the state at step {step} comes out otherwise; "
                    "it was written on another machine or by another build of the physics engine"
                )
            if step >= begin:
                yield commands
            world.step(commands)


def read_world_log(path: Path, begin: Place | None = None) -> WorldLog:
    """Read a log, of a world that still runs or was killed, too.

    Args:
        path: The file.
        begin: One of the :attr:`WorldLog.places` of an earlier reading, to read only what came
            after it; None reads all.

    Raises:
        DamagedData: It is none, is of another model or engine, or a record was changed.
    """
    heads: list[tuple[int, float, float]] = []
    moments: dict[int, np.ndarray] = {}
    commands: dict[int, Commands] = {}
    places: dict[int, Place] = {}
    commands_byte = begin.commands_byte if begin else None
    with path.open("rb") as file:
        _check_engine(path, file.readline())
        if commands_byte is not None:
            held = _record_at(path, file, commands_byte)
            commands[held.clocks[0]] = _unpack(held.payload)
        if begin is not None:
            file.seek(begin.state_byte)
        first_byte = file.tell()
        rest = file.read()
    for record in _records(path, rest, first_byte):
        step = record.clocks[0]
        heads.append(record.clocks)
        if record.kind == _Kind.MOMENT:
            moments[step] = np.frombuffer(record.payload)
            places[step] = Place(record.byte, commands_byte)
        elif record.kind == _Kind.COMMANDS:
            commands[step] = _unpack(record.payload)
            commands_byte = record.byte
    table = np.array(heads, np.float64).reshape(-1, 3)
    return WorldLog(
        path=path,
        steps=table[:, 0].astype(np.int64),
        wall_s=table[:, 1],
        monotonic_s=table[:, 2],
        moments=moments,
        commands=commands,
        changes=np.array(sorted(commands), np.int64),
        places=places,
    )


def _check_engine(path: Path, line: bytes) -> None:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise DamagedData(f"{path} is no log of a warehouse: {error}") from error
    if said != engine():
        raise DamagedData(f"{path} was written by {said}; this is {engine()}")


class _Record(NamedTuple):
    byte: int
    kind: int
    clocks: tuple[int, float, float]
    payload: bytes


def _record_at(path: Path, file: BinaryIO, byte: int) -> _Record:
    file.seek(byte)
    head = file.read(_HEAD.size)
    size = _HEAD.unpack(head)[0] if len(head) == _HEAD.size else 0
    for record in _records(path, head + file.read(min(size, _LONGEST_BYTES)), byte):
        return record
    raise DamagedData(f"{path} ends before byte {byte}, which was read before; it was changed")


def _records(path: Path, data: bytes, first_byte: int) -> Iterator[_Record]:
    """Yield the records of a stretch of the file that begins at ``first_byte``."""
    at = 0
    while at + _HEAD.size <= len(data):
        size, kind, crc, step, wall_s, monotonic_s = _HEAD.unpack_from(data, at)
        if size > _LONGEST_BYTES:
            raise DamagedData(f"{path}: the record at byte {first_byte + at} claims {size} bytes")
        payload = data[at + _HEAD.size : at + _HEAD.size + size]
        if len(payload) < size:
            return  # the writer was killed in it
        clocks = (step, wall_s, monotonic_s)
        if zlib.crc32(_HEAD.pack(size, kind, 0, *clocks) + payload) != crc:
            raise DamagedData(
                f"{path}: the record at byte {first_byte + at} is not what was written"
            )
        yield _Record(first_byte + at, kind, clocks, payload)
        at += _HEAD.size + size


def _record(kind: _Kind, clocks: tuple[int, float, float], payload: bytes) -> bytes:
    crc = zlib.crc32(_HEAD.pack(len(payload), kind, 0, *clocks) + payload)
    return _HEAD.pack(len(payload), kind, crc, *clocks) + payload


def _pack(commands: Commands) -> bytes:
    given = [commands.get(name) for name in _SIZES]
    mask = sum(1 << bit for bit, command in enumerate(given) if command is not None)
    values = [np.asarray(c, np.float64).tobytes() for c in given if c is not None]
    return struct.pack("<Q", mask) + b"".join(values)


def _unpack(payload: bytes) -> Commands:
    (mask,), at = struct.unpack_from("<Q", payload), 8
    commands: dict[str, np.ndarray | None] = {}
    for bit, (name, size) in enumerate(_SIZES.items()):
        if mask >> bit & 1:
            commands[name] = np.frombuffer(payload, np.float64, size, at)
            at += 8 * size
    return commands
