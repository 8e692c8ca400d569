"""Why a cell stopped, kept on disk, and who let it move again.

The stop log is a file of JSON lines, written through and synced, in space that was taken
beforehand: a full disk cannot swallow the reason. A *release* is a statement signed by an
operator about the digest of exactly one stop, so it cannot be used for another.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loopwright.core.digest import digest_json
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted
from loopwright.safety.keys import Holder, KeyRing, SigningKey
from loopwright.safety.statement import Signed, Statement

RELEASE = "stop-release/v1"
_TAKEN_BYTES = 1 << 18
"""Space taken beforehand: several hundred stops."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """One stop of a cell."""

    cell: str
    number: int
    """Counts up through the life of the log."""
    robot: str
    """Whose stop it was first; empty where it was nobody's."""
    reason: str
    """Name of the :class:`~loopwright.safety.decision.Reason`."""
    detail: str
    time_s: float
    """When, by ``time.monotonic``."""
    utc: str
    latches: Mapping[str, int]
    """How often each robot's guard had latched by then: a release covers these and no later."""

    @property
    def digest(self) -> str:
        """What a release is about."""
        return digest_json(asdict(self))


def utc_now() -> str:
    """Return the date and time, for people."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def say(text: str) -> None:
    """Say something on stderr, which may be a file on a disk that is full."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class StopLog:
    """An append-only log of what happened to the line of a cell; use by one process."""

    def __init__(self, path: Path) -> None:
        """Open or create it, and take its space on the disk.

        Raises:
            StorageError: The operating system refused.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            os.posix_fallocate(self._descriptor, 0, _TAKEN_BYTES)
            os.fsync(self._descriptor)
            written = path.read_bytes().rstrip(b"\0")
        except OSError as error:
            raise StorageError(f"the stop log {path} could not be opened: {error}") from error
        self.events, self.torn = _parse(written)
        self._end = len(written)
        if self.torn:
            self._write(b"\n")

    def append(self, event: str, content: Mapping[str, Any], *, sync: bool = True) -> None:
        """Add an event; when this returns it is on the disk (with ``sync``).

        Raises:
            StorageError: The operating system refused.
        """
        entry = {"event": event, **content}
        try:
            self._write(json.dumps(entry).encode() + b"\n")
            if sync:
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise StorageError(f"the stop log {self.path} could not be written: {error}") from error
        self.events.append(entry)

    def _write(self, line: bytes) -> None:
        if os.pwrite(self._descriptor, line, self._end) != len(line):
            raise OSError("only a part of the line was written")
        self._end += len(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_stop_log(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the events of a stop log, and whether a line of it was torn.

    Raises:
        DamagedData: It cannot be read.
    """
    try:
        return _parse(path.read_bytes().rstrip(b"\0"))
    except OSError as error:
        raise DamagedData(f"the stop log {path} cannot be read: {error}") from error


def _parse(written: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return whole lines, and whether the last one is not.

    A torn line in the middle was said when the log was opened after it, and is skipped.
    """
    events: list[dict[str, Any]] = []
    torn = False
    for line in written.split(b"\n"):
        if not line:
            continue
        try:
            events.append(json.loads(line))
            torn = False
        except ValueError:
            torn = True
    return events, torn


def newest_stop(events: list[dict[str, Any]]) -> Stop | None:
    """Return the newest stop, or None where there was none."""
    stops = [entry for entry in events if entry["event"] == "stop"]
    return Stop(**{k: v for k, v in stops[-1].items() if k != "event"}) if stops else None


def is_released(events: list[dict[str, Any]]) -> bool:
    """Return whether nothing is left to be released."""
    stop = newest_stop(events)
    return stop is None or any(
        entry["event"] == "released" and entry["number"] == stop.number for entry in events
    )


def sign_release(stop: Stop, key: SigningKey, note: str) -> Signed:
    """Return an operator's statement that a stop has been looked into and may end.

    Raises:
        InvalidConfig: The note is empty; somebody will want to know what was done.
    """
    if not note.strip():
        raise InvalidConfig("a release needs a note: what was found, and what was done")
    predicate = {"cell": stop.cell, "number": stop.number, "note": note, "utc": utc_now()}
    statement = Statement(kind=RELEASE, subjects={"stop": stop.digest}, predicate=predicate)
    return Signed.by(statement, key)


def release_path(folder: Path, number: int) -> Path:
    """Return where the release of a stop is looked for."""
    return folder / f"stop-{number}.json"


def put_release(folder: Path, signed: Signed) -> Path:
    """Put a release where guards and watchdog look for it, whole or not at all.

    Raises:
        StorageError: The operating system refused.
    """
    number = signed.statement.predicate["number"]
    path = release_path(folder, int(str(number)))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(signed.to_json()))
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"the release {path} could not be written: {error}") from error
    return path


def find_release(folder: Path, stop: Stop, ring: KeyRing) -> Holder | None:
    """Return the operator who released a stop, or None where nobody did.

    Raises:
        Untrusted: There is a release, and it is not signed by an operator, or is of another stop.
        DamagedData: It cannot be read.
    """
    path = release_path(folder, stop.number)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedData(f"the release {path} cannot be read: {error}") from error
    try:
        signed = Signed.from_json(json.loads(raw))
    except ValueError as error:
        raise DamagedData(f"the release {path} is no JSON: {error}") from error
    statement = signed.statement
    if statement.kind != RELEASE or dict(statement.subjects) != {"stop": stop.digest}:
        raise Untrusted(f"{path} is a {statement.kind} about something else than this stop")
    return signed.require(ring, "operator")[0]


def press_stop(signals: Path, who: str, why: str) -> None:
    """Press the stop button of a cell: the watchdog drops its line at the next beat.

    Raises:
        StorageError: It could not be pressed; use the switch on the wall.
    """
    text = json.dumps({"who": who, "why": why, "time_s": time.monotonic()})
    temporary = signals / f".button.{os.getpid()}"
    try:
        temporary.write_text(text)
        temporary.replace(signals / BUTTON)
    except OSError as error:
        raise StorageError(f"the stop button of {signals} does not work: {error}") from error


BUTTON = "button"
"""Name of the file that the stop button leaves among the signals."""
