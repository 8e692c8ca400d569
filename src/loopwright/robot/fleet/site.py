"""The folder of a fleet: its keys, tokens, journal, memory and flights, and where its signals are.

::

    journal.db memory.db      what happened, what was seen
    access.json               tokens by role, for its owner's eyes
    keys/ ring.json           everybody's own key and the bus's secret; who is trusted with what
    agents/ROBOT.log          what each robot has begun; ROBOT.stop while it is stopped
    flights/ cell/            black boxes; stops and releases
    worlds/                   what the motors of the simulated world were told
    episodes/ regressions/    what was attempted, as data; what failed, as scenarios
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import LoopwrightError, SafetyError, StorageError, WorkspaceBusy
from loopwright.robot.access import Access
from loopwright.robot.latch import RobotStop, read_stop, sign_release, write_releases
from loopwright.robot.wires.membership import Membership, enrol
from loopwright.safety.guard.config import STOP_LOG
from loopwright.safety.guard.stops import Stop, is_released, newest_stop, read_stop_log
from loopwright.safety.guard.stops import sign_release as sign_line_release
from loopwright.safety.keys import SigningKey

_SHARED = Path("/dev/shm")


class FleetSilent(LoopwrightError):
    """Nobody answers where the fleet should be."""


@dataclass(frozen=True, slots=True)
class FleetSite:
    """Names of what lies in a fleet's folder."""

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> FleetSite:
        """Open the folder of a fleet, made new if there is none, with keys and tokens of its own.

        Raises:
            StorageError: It could not be made.
            DamagedData: Keys or tokens in it cannot be read.
        """
        site = cls(folder.resolve())
        try:
            for path in (site.keys, site.agents, site.flights, site.signals):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder} could not be made: {error}") from error
        if not site.ring.exists():  # later, whoever was taken off the ring stays off it
            enrol(site.folder, "recorder", "recorder")
            enrol(site.folder, "operator", "operator")
        if not site.tokens.exists():
            Access.create(site.tokens)
        return site

    def enrol(self, robots: Iterable[str], cameras: Iterable[str]) -> None:
        """Give robots, cameras and their coordinator keys of their own, if they have none.

        Raises:
            InvalidConfig: A name is somebody else's already.
            Untrusted: The key of one was taken off the ring.
            StorageError: A key could not be written.
        """
        enrol(self.folder, "coordinator", "coordinator")
        enrol(self.folder, "robot", *robots)
        enrol(self.folder, "camera", *cameras)

    def membership(self, *names: str) -> Membership:
        """Return a process's place on the bus; see :meth:`Membership.read`."""
        return Membership.read(self.folder, *names)

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.folder / "journal.db"

    @property
    def memory(self) -> Path:
        """The world memory."""
        return self.folder / "memory.db"

    @property
    def tokens(self) -> Path:
        """Access tokens."""
        return self.folder / "access.json"

    @property
    def keys(self) -> Path:
        """Private keys."""
        return self.folder / "keys"

    @property
    def ring(self) -> Path:
        """Public keys with their holders."""
        return self.folder / "ring.json"

    @property
    def agents(self) -> Path:
        """What robots have begun."""
        return self.folder / "agents"

    def latch(self, robot: str) -> Path:
        """Return the file that is there while a robot is stopped."""
        return self.agents / f"{robot}.stop"

    def stopped(self) -> tuple[str, ...]:
        """Return the robots whose own stop is latched."""
        return tuple(sorted(path.stem for path in self.agents.glob("*.stop")))

    def sign_releases(self, robot: str | None, note: str) -> str:
        """Sign the release of what is stopped, with the operator's key.

        Args:
            robot: Which; None for all, and for the line of their guards.
            note: What was found, and what was done.

        Returns:
            Signed releases as they travel to the fleet.

        Raises:
            SafetyError: Nothing is stopped.
            InvalidConfig: The note is empty.
        """
        key = self.operator_key()
        signed = [sign_release(stop, key, note) for stop in self.stops(robot)]
        if robot is None and (line := self.stop_of_the_line()):
            signed.append(sign_line_release(line, key, note))
        if not signed:
            raise SafetyError(f"{robot} is not stopped" if robot else "nothing is stopped")
        return write_releases(*signed)

    def stops(self, robot: str | None) -> list[RobotStop]:
        """Return the stops of robots that are latched; of one, or of all."""
        names = self.stopped() if robot is None else (robot,)
        return [stop for name in names if (stop := read_stop(self.latch(name), name))]

    def stop_of_the_line(self) -> Stop | None:
        """Return the stop of the guards' line, None if it is released."""
        log = self.cell / STOP_LOG
        events = read_stop_log(log)[0] if log.exists() else []
        return None if is_released(events) else newest_stop(events)

    @property
    def flights(self) -> Path:
        """Black boxes."""
        return self.folder / "flights"

    @property
    def cell(self) -> Path:
        """Stops and releases."""
        return self.folder / "cell"

    @property
    def worlds(self) -> Path:
        """Logs of the simulated worlds, from which everything can happen again."""
        return self.folder / "worlds"

    @property
    def episodes(self) -> Path:
        """The workspace with an episode of every attempt."""
        return self.folder / "episodes"

    @property
    def regressions(self) -> Path:
        """Attempts that failed, as scenarios."""
        return self.folder / "regressions"

    @property
    def films(self) -> Path:
        """Films of tasks."""
        return self.folder / "films"

    @property
    def signals(self) -> Path:
        """Shared memory, in memory where the machine has it."""
        base = _SHARED if _SHARED.is_dir() else Path(tempfile.gettempdir())
        return base / f"loopwright-fleet-{digest_bytes(str(self.folder).encode())[:12]}"

    @property
    def address(self) -> Path:
        """Where the running fleet can be reached."""
        return self.folder / "address.json"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other fleets out of the folder, and begin with signals of no earlier one.

        What was stopped stays stopped: that is on the disk, not among the signals.

        Raises:
            WorkspaceBusy: A fleet runs there already.
        """
        with (self.folder / "fleet.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WorkspaceBusy(
                    f"a fleet runs in {self.folder} already; ask it, or end it"
                ) from error
            shutil.rmtree(self.signals, ignore_errors=True)
            self.signals.mkdir(parents=True, exist_ok=True)
            try:
                yield
            finally:
                shutil.rmtree(self.signals, ignore_errors=True)

    def operator_key(self) -> SigningKey:
        """Return the operator's key, which releases stops."""
        return SigningKey.read(self.keys / "operator.key")

    @property
    def recorder_key(self) -> Path:
        """Return the file of the recorders' key."""
        return self.keys / "recorder.key"

    def write_address(self, url: str) -> None:
        """Say where the fleet can be reached."""
        self.address.write_text(json.dumps({"url": url}))

    def read_address(self) -> str:
        """Return where the fleet can be reached.

        Raises:
            FleetSilent: It does not run.
        """
        try:
            return str(json.loads(self.address.read_text())["url"])
        except (OSError, ValueError, KeyError) as error:
            raise FleetSilent(
                f"no fleet runs in {self.folder}; start one with: loopwright up tabletop"
            ) from error
