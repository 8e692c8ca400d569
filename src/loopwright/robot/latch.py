"""The emergency stop of one robot, latched on its disk until an operator's signature ends it.

A latch that lived in a process would end with the process: whoever restarts a robot's agent would
release its stop. Every press is another stop, so a release that was signed before it is of no use.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from loopwright.core.digest import digest_json
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted
from loopwright.safety.keys import Holder, KeyRing, SigningKey
from loopwright.safety.statement import Signed, Statement

RELEASE = "robot-release/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotStop:
    """One stop of one robot."""

    robot: str
    id: str
    reason: str
    utc: str

    @property
    def digest(self) -> str:
        """What a release is about."""
        return digest_json(asdict(self))


class StopLatch:
    """The latch of one robot; use by one process."""

    def __init__(self, path: Path, robot: str, ring: KeyRing) -> None:
        """Take over what an earlier process has latched.

        Args:
            path: File that exists while the robot is stopped.
            robot: Its name.
            ring: Who may release it: the operators on it.
        """
        self.path, self._robot, self._ring = path, robot, ring
        self._lock = threading.Lock()
        self._stop = read_stop(path, robot)

    @property
    def reason(self) -> str | None:
        """Why the robot is stopped; None if it is not."""
        stop = self._stop
        return stop.reason if stop else None

    def press(self, reason: str) -> None:
        """Latch a stop.

        Raises:
            StorageError: It holds, but would not outlive this process.
        """
        with self._lock:
            self._stop = RobotStop(
                robot=self._robot,
                id=uuid.uuid4().hex,
                reason=reason,
                utc=datetime.now(UTC).isoformat(timespec="milliseconds"),
            )
            partial = self.path.with_name(f"{self.path.name}.partial")
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("w") as file:
                    json.dump(asdict(self._stop), file)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(self.path)
            except OSError as error:
                raise StorageError(f"the stop {self.path} could not be written: {error}") from error

    def release(self, releases: str) -> Holder | None:
        """End the stop, if one of some releases is an operator's and about exactly this stop.

        Args:
            releases: What :func:`write_releases` returned.

        Returns:
            Who released it; None if nothing was latched.

        Raises:
            Untrusted: None of them is; the robot stays stopped.
            DamagedData: They cannot be read.
        """
        with self._lock:
            if self._stop is None:
                return None
            for signed in read_releases(releases):
                statement = signed.statement
                if statement.kind == RELEASE and statement.subjects == {"stop": self._stop.digest}:
                    holder = signed.require(self._ring, "operator")[0]
                    self.path.unlink(missing_ok=True)
                    self._stop = None
                    return holder
        raise Untrusted(f"no release is about the stop of {self._robot} that is latched now")


def read_stop(path: Path, robot: str) -> RobotStop | None:
    """Return the stop that is latched, or None; what cannot be read is a stop as well."""
    try:
        return RobotStop(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        digest = digest_json([robot, str(error)])
        return RobotStop(robot=robot, id=digest, reason=f"{path} cannot be read: {error}", utc="")


def sign_release(stop: RobotStop, key: SigningKey, note: str) -> Signed:
    """Return an operator's statement that a stop has been looked into and may end.

    Raises:
        InvalidConfig: The note is empty; somebody will want to know what was done.
    """
    if not note.strip():
        raise InvalidConfig("a release needs a note: what was found, and what was done")
    statement = Statement(
        kind=RELEASE,
        subjects={"stop": stop.digest},
        predicate={
            "robot": stop.robot,
            "reason": stop.reason,
            "note": note,
            "utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
        },
    )
    return Signed.by(statement, key)


def write_releases(*signed: Signed) -> str:
    """Return releases as they travel to a fleet: guards and robots each take their own."""
    return json.dumps([s.to_json() for s in signed])


def read_releases(text: str) -> tuple[Signed, ...]:
    """Read what :func:`write_releases` wrote.

    Raises:
        DamagedData: It is something else.
    """
    try:
        listed = json.loads(text)
        if not isinstance(listed, list):
            raise ValueError("no list")
    except ValueError as error:
        raise DamagedData(f"these are no signed releases: {error}") from error
    return tuple(Signed.from_json(plain) for plain in listed)
