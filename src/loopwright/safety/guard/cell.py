"""A cell as a user starts it: one process per guard, drive and watchdog, and the policy's end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from loopwright.core.errors import DamagedData, SafetyError
from loopwright.safety.guard.config import CellConfig
from loopwright.safety.guard.signals import (
    Command,
    Line,
    LineState,
    Reader,
    Reading,
    Request,
    SignalPaths,
    Writer,
)
from loopwright.safety.guard.stops import (
    Stop,
    newest_stop,
    put_release,
    read_stop_log,
    sign_release,
)
from loopwright.safety.keys import SigningKey

CONFIG = "cell.json"
_LOOK_EVERY_S = 0.005


class PolicySide:
    """What a policy sees of its robot: it may ask, and look."""

    def __init__(self, signals: Path, robot: str, size: int) -> None:
        """Become the one policy of a robot of N coordinates.

        Raises:
            SafetyError: There is another policy.
            DamagedData: There is no such robot among the signals.
        """
        paths = SignalPaths(signals)
        self._size = size
        self._requests = Writer(paths.request(robot), Request, size)
        self._commands = Reader(paths.command(robot), Command, size)
        self._readings = Reader(paths.reading(robot), Reading, size)
        self._line = Reader(paths.line, Line)

    def send(self, values: object) -> None:
        """Ask for speeds; whatever it is, the filter will judge it."""
        asked, count = np.full(self._size, np.nan), -1
        try:
            given = np.asarray(values, dtype=float)
        except (TypeError, ValueError):
            given = asked
        else:
            count = int(given.size) if given.ndim == 1 else -1
        if count == self._size:
            asked = given
        self._ask(asked, count=count, resting=False)

    def rest(self) -> None:
        """Ask for the safe state, and for leave to be silent."""
        self._ask(np.zeros(self._size), count=self._size, resting=True)

    def _ask(self, values: np.ndarray, *, count: int, resting: bool) -> None:
        self._requests.write(
            Request(time_s=time.monotonic(), count=count, resting=resting, values=values)
        )

    def reading(self) -> Reading | None:
        """Return what the drive measured last."""
        return self._readings.read()

    def command(self) -> Command | None:
        """Return what the guard let through last."""
        return self._commands.read()

    def line(self) -> Line | None:
        """Return what the line says."""
        return self._line.read()

    def close(self) -> None:
        """Let go of the signals."""
        for signal in (self._requests, self._commands, self._readings, self._line):
            signal.close()


class Cell:
    """The processes of a cell; use as a context manager through :func:`run_cell`."""

    def __init__(self, config: CellConfig, environment: Mapping[str, str] | None = None) -> None:
        """Lay out signals and logs; nothing runs yet.

        Args:
            config: Of the cell.
            environment: Further environment variables of its processes.
        """
        self.config = config
        self.sizes = {robot.name: robot.body().spec.size for robot in config.robots}
        self._environment = {**os.environ, **(environment or {})}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        config.logs.mkdir(parents=True, exist_ok=True)
        config.releases.mkdir(exist_ok=True)
        SignalPaths(config.signals).create(self.sizes)
        self._path = config.signals / CONFIG
        self._path.write_text(json.dumps(config.to_json()))
        paths = SignalPaths(config.signals)
        self._line = Reader(paths.line, Line)
        self._commands = {
            name: Reader(paths.command(name), Command, size) for name, size in self.sizes.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Every process: drives, guards, and the watchdog at last."""
        robots = [robot.name for robot in self.config.robots]
        return (*(f"drive:{r}" for r in robots), *(f"guard:{r}" for r in robots), "watchdog")

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a process by its name; a dead one of that name is replaced.

        Raises:
            SafetyError: It still runs.
        """
        running = self.processes.get(name)
        if running is not None and running.poll() is None:
            raise SafetyError(f"{name} still runs as process {running.pid}; end it first")
        role, _, robot = name.partition(":")
        command = [sys.executable, "-m", "loopwright.safety.guard", role, str(self._path)]
        log = self.config.logs / f"{name.replace(':', '.')}.err"
        with log.open("ab") as said:
            self.processes[name] = subprocess.Popen(
                [*command, *([robot] if robot else []), "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=self._environment,
            )
        return self.processes[name]

    def line(self) -> Line | None:
        """Return what the line says."""
        return self._line.read()

    def command(self, robot: str) -> Command | None:
        """Return what a robot's guard let through last."""
        return self._commands[robot].read()

    def wait_until(self, state: LineState, within_s: float = 20.0) -> Line:
        """Wait until the line is in a state.

        Raises:
            SafetyError: It does not come to that; the message says what is there instead.
        """
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            line = self.line()
            if line is not None and line.state is state:
                return line
            time.sleep(_LOOK_EVERY_S)
        raise SafetyError(
            f"the line of cell {self.config.name!r} is not {state.name} after {within_s:.0f} s; "
            f"it says {self.line()}; ended: {self._ended()}; see {self.config.logs}"
        )

    def _ended(self) -> dict[str, int]:
        codes = {name: process.poll() for name, process in self.processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def policy_side(self, robot: str) -> PolicySide:
        """Return the policy's end of a robot."""
        return PolicySide(self.config.signals, robot, self.sizes[robot])

    def stop(self) -> Stop | None:
        """Return the newest stop in the log, or None where there was none."""
        try:
            return newest_stop(read_stop_log(self.config.stop_log)[0])
        except DamagedData:
            return None

    def release(self, key: SigningKey, note: str) -> Stop:
        """Sign the release of the newest stop.

        Raises:
            SafetyError: There is nothing to release.
        """
        stop = self.stop()
        if stop is None:
            raise SafetyError(f"cell {self.config.name!r} has not stopped; nothing to release")
        put_release(self.config.releases, sign_release(stop, key, note))
        return stop

    def close(self, within_s: float = 10.0) -> None:
        """End every process, the watchdog first, so that the line is down for the rest."""
        for name in ("watchdog", *reversed(self.names)):
            process = self.processes.get(name)
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(within_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for signal in (self._line, *self._commands.values()):
            signal.close()


@contextmanager
def run_cell(config: CellConfig, environment: Mapping[str, str] | None = None) -> Iterator[Cell]:
    """Run a cell for the length of a block.

    Args:
        config: Of the cell.
        environment: Further environment variables of its processes.
    """
    cell = Cell(config, environment)
    try:
        for name in cell.names:
            cell.start(name)
        yield cell
    finally:
        cell.close()
