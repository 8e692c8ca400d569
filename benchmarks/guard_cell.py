"""A cell of seven-joint arms for ``benchmarks.guard``: parts, policy process, and the faults.

The cell's processes import this module by name, so the repository root is on their path.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loopwright.core.errors import SafetyError
from loopwright.safety.body import Measured, RobotEntry
from loopwright.safety.guard.actuators import PlantActuators, make_plant_actuators, read_truth
from loopwright.safety.guard.cell import Cell, PolicySide, run_cell
from loopwright.safety.guard.config import Bounds, CellConfig, Part, RobotConfig
from loopwright.safety.guard.signals import GuardState, LineState
from loopwright.safety.guard.stops import Stop, press_stop, read_stop_log
from loopwright.safety.keys import Holder, KeyRing, SigningKey
from loopwright.scenarios.arm7.plant import make_limits, robot_entry

ROOT = Path(__file__).parents[1]
JOINTS = 7
STILL_RAD_S = 5e-3
_PARTS = "loopwright.safety.guard.parts"
_FOLLOWED = struct.Struct("<2d")


class TimedActuators:
    """Simulated motors that note when they followed which command."""

    def __init__(self, plant: PlantActuators, path: Path) -> None:
        self._plant = plant
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._last = float("nan")

    def measure(self) -> Measured:
        return self._plant.measure()

    def write(self, applied: np.ndarray) -> None:
        if applied[-1] != self._last:
            self._last = float(applied[-1])
            os.write(self._descriptor, _FOLLOWED.pack(time.monotonic(), self._last))
        self._plant.write(applied)

    def stop(self) -> None:
        self._plant.stop()

    def close(self) -> None:
        self._plant.close()


def make_actuators(*, robot: str, entry: RobotEntry, folder: str) -> TimedActuators:
    plant = make_plant_actuators(robot=robot, entry=entry, truth=folder)
    return TimedActuators(plant, Path(folder) / f"{robot}.followed")


def read_pairs(path: Path) -> np.ndarray:
    """Return ``(rows, 2)``: time and the last joint's speed."""
    raw = path.read_bytes()
    return np.frombuffer(raw[: len(raw) // 16 * 16], "<f8").reshape(-1, 2)


def wave(time_s: float) -> np.ndarray:
    """Return speeds of a benign motion in which something always moves; no two are alike."""
    phases = np.arange(JOINTS) * np.pi / 2.0
    return 0.15 * np.sin(2.0 * time_s + phases)


def be_policy(signals: Path, robot: str, sent: Path) -> None:
    """Ask for motion at 50 Hz, and note what was asked when."""
    side = PolicySide(signals, robot, JOINTS)
    descriptor = os.open(sent, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    parent = os.getppid()
    while os.getppid() == parent:
        speeds = wave(time.monotonic())
        os.write(descriptor, _FOLLOWED.pack(time.monotonic(), speeds[-1]))
        side.send(speeds)
        time.sleep(0.02)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep processes spinning at ordinary priority."""
    spin = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


@dataclass
class ArmCell:
    """A running cell of arms, with its policies."""

    cell: Cell
    operator: SigningKey
    folder: Path
    policies: dict[str, subprocess.Popen[bytes]]

    def start_policy(self, robot: str) -> None:
        command = [sys.executable, "-m", "benchmarks.guard", "--policy"]
        command += [str(self.cell.config.signals), robot, str(self.folder / f"{robot}.sent")]
        self.policies[robot] = subprocess.Popen(command, cwd=ROOT, env=environment())

    @property
    def robots(self) -> list[str]:
        return [robot.name for robot in self.cell.config.robots]

    def truth(self, robot: str, since_s: float) -> np.ndarray:
        rows = read_truth(self.folder / f"{robot}.truth", JOINTS)
        return rows[np.searchsorted(rows[:, 0], since_s) :]

    def all_move(self) -> bool:
        now_s = time.monotonic()
        recent = [self.truth(robot, now_s - 0.05) for robot in self.robots]
        return all(
            len(rows) and np.abs(rows[-1, 2 + JOINTS :]).max() > 0.05 and not rows[-1, 1]
            for rows in recent
        )

    def get_moving(self, within_s: float = 60.0) -> None:
        """Bring everybody back into motion: restart the dead, release, wait."""
        until_s = time.monotonic() + within_s
        for name, process in self.cell.processes.items():
            if process.poll() is not None:
                self.cell.start(name)
        for robot in self.robots:
            if robot not in self.policies or self.policies[robot].poll() is not None:
                self.start_policy(robot)
        released = 0
        while not self.all_move():
            if time.monotonic() > until_s:
                raise SafetyError(f"the cell does not move again: {self.cell.line()}")
            line, stop = self.cell.line(), self.cell.stop()
            down = line is not None and line.state is LineState.DOWN
            if down and stop is not None and stop.number > released and self._all_latched():
                self.cell.release(self.operator, "next trial")
                released = stop.number
            time.sleep(0.05)

    def _all_latched(self) -> bool:
        """Whether every guard is back: one that comes after a release would be a stop again."""
        commands = [self.cell.command(robot) for robot in self.robots]
        now_s = time.monotonic()
        return all(
            command is not None
            and now_s - command.time_s < 0.1
            and command.state is GuardState.LATCHED
            for command in commands
        )


def environment() -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def arm_cell(
    folder: Path, *, robots: int = 1, bounds: Bounds | None = None, priority: int = 50
) -> Iterator[ArmCell]:
    """Run a cell of arms until the end of the block; they move when it begins."""
    with (
        tempfile.TemporaryDirectory(prefix="guard-", dir="/dev/shm") as signals,
        _arm_cell(folder, Path(signals), robots, bounds, priority) as running,
    ):
        yield running


@contextmanager
def _arm_cell(
    folder: Path, signals: Path, robots: int, bounds: Bounds | None, priority: int
) -> Iterator[ArmCell]:
    operator, recorder = SigningKey.new(), SigningKey.new()
    recorder.write(folder / "recorder.key")
    holder = Holder(person="bench", public=operator.public, roles=frozenset({"operator"}))
    (folder / "ring.json").write_text(json.dumps(KeyRing([holder]).to_json()))
    limits = make_limits().to_json()
    config = CellConfig(
        name="bench",
        robots=tuple(
            RobotConfig(
                name=f"arm{number}",
                entry=robot_entry(),
                filter=Part(entry=f"{_PARTS}:make_ladder", config={"limits": limits}),
                recorder=Part(
                    entry=f"{_PARTS}:make_black_box",
                    config={
                        "folder": str(folder),
                        "key": str(folder / "recorder.key"),
                        "limits": limits,
                    },
                ),
                actuators=Part(
                    entry="benchmarks.guard_cell:make_actuators", config={"folder": str(folder)}
                ),
            )
            for number in range(robots)
        ),
        signals=signals,
        logs=folder / "logs",
        ring=folder / "ring.json",
        bounds=bounds or Bounds(),
        priority=priority,
    )
    with ExitStack() as stack:
        cell = stack.enter_context(run_cell(config, environment()))
        running = ArmCell(cell=cell, operator=operator, folder=folder, policies={})
        stack.callback(lambda: [_end(policy) for policy in running.policies.values()])
        cell.wait_until(LineState.UP, within_s=60.0)
        running.get_moving()
        yield running


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@dataclass(frozen=True, kw_only=True)
class Struck:
    """A fault that was made."""

    at_s: float
    mend: Callable[[], object]
    """Undoes what a restart of the dead does not."""


Strike = Callable[["ArmCell"], Struck]


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """A way to break a cell of arms at ``arm0``."""

    title: str
    strike: Strike
    reason: str
    """What has to stand in the stop log."""
    bound_s: float
    """The silence that is waited for, by the bounds of the cell, in seconds."""


def _signalled(name: str, number: int) -> Strike:
    def strike(arms: ArmCell) -> Struck:
        process = arms.policies["arm0"] if name == "policy" else arms.cell.processes[name]
        at_s = time.monotonic()
        process.send_signal(number)
        if number == signal.SIGKILL:
            return Struck(at_s=at_s, mend=process.wait)
        return Struck(at_s=at_s, mend=lambda: process.send_signal(signal.SIGCONT))

    return strike


def _fill_disk(arms: ArmCell) -> Struck:
    """Let no file of the guard grow any more."""
    pid, at_s = arms.cell.processes["guard:arm0"].pid, time.monotonic()
    _limit_files(pid, 1)
    return Struck(at_s=at_s, mend=lambda: _limit_files(pid, resource.RLIM_INFINITY))


def _limit_files(pid: int, soft: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


def _press(arms: ArmCell) -> Struck:
    at_s = time.monotonic()
    press_stop(arms.cell.config.signals, "bench", "a trial")
    return Struck(at_s=at_s, mend=lambda: None)


_SPIN = """
import os, sys, time
os.sched_setaffinity(0, {{{core}}})
print("ready", flush=True)
sys.stdin.readline()
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(90))
end = time.monotonic() + 0.5
while time.monotonic() < end:
    pass
"""


def _starve(arms: ArmCell) -> Struck:
    """Put the guard on one core with something more urgent that does not end for half a second."""
    cores = sorted(os.sched_getaffinity(0))
    for name, process in arms.cell.processes.items():
        _pin(process.pid, {cores[0]} if name == "guard:arm0" else set(cores[1:]))
    spinning = subprocess.Popen(
        [sys.executable, "-c", _SPIN.format(core=cores[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert spinning.stdin is not None
    assert spinning.stdout is not None
    spinning.stdout.readline()
    at_s = time.monotonic()
    spinning.stdin.write(b"go\n")
    spinning.stdin.flush()

    def mend() -> None:
        spinning.communicate()
        for process in arms.cell.processes.values():
            _pin(process.pid, set(cores))

    return Struck(at_s=at_s, mend=mend)


def _pin(pid: int, cores: set[int]) -> None:
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cores)


def fault_kinds(bounds: Bounds) -> tuple[FaultKind, ...]:
    """Return every fault that is tried."""
    dead_guard = min(bounds.guard_s, bounds.command_s)
    return (
        FaultKind(
            title="guard killed",
            strike=_signalled("guard:arm0", signal.SIGKILL),
            reason="DEADLINE",
            bound_s=dead_guard,
        ),
        FaultKind(
            title="guard paused",
            strike=_signalled("guard:arm0", signal.SIGSTOP),
            reason="DEADLINE",
            bound_s=dead_guard,
        ),
        FaultKind(
            title="guard starved by a more urgent process",
            strike=_starve,
            reason="DEADLINE",
            bound_s=dead_guard,
        ),
        FaultKind(
            title="watchdog killed",
            strike=_signalled("watchdog", signal.SIGKILL),
            reason="DEADLINE",
            bound_s=bounds.line_s,
        ),
        FaultKind(
            title="watchdog paused",
            strike=_signalled("watchdog", signal.SIGSTOP),
            reason="DEADLINE",
            bound_s=bounds.line_s,
        ),
        FaultKind(
            title="policy killed",
            strike=_signalled("policy", signal.SIGKILL),
            reason="POLICY_LOST",
            bound_s=bounds.policy_s,
        ),
        FaultKind(
            title="disk full under the recorder", strike=_fill_disk, reason="RECORDER", bound_s=0.0
        ),
        FaultKind(title="stop button", strike=_press, reason="OPERATOR", bound_s=0.0),
    )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one fault led to; times from the fault on, infinite where it did not come to that."""

    reaction_s: float
    """Until the drive of the robot at fault was in its safe state."""
    standing_s: float
    """Until that robot stood."""
    peer_s: float
    """Until the last drive of the others was in its safe state."""
    spread_s: float
    """From the first drive in its safe state to the last."""
    stayed: bool
    """Whether everybody then stood until the end of what was watched."""
    stop: Stop | None
    """The first stop written down after the fault."""


def try_fault(arms: ArmCell, kind: FaultKind, *, watch_s: float = 0.8) -> Trial:
    """Break a moving cell, watch what it does, and mend it."""
    before = arms.cell.stop()
    number = before.number if before else 0
    struck = kind.strike(arms)
    fault_s = struck.at_s
    time.sleep(kind.bound_s + watch_s)
    rows = {robot: arms.truth(robot, fault_s) for robot in arms.robots}
    struck.mend()
    if kind.title.startswith("watchdog"):
        _restart_dead(arms)
    until_s = time.monotonic() + 20.0
    stop = None
    while stop is None and time.monotonic() < until_s:
        entries, _ = read_stop_log(arms.cell.config.stop_log)
        newer = [e for e in entries if e["event"] == "stop" and e["number"] > number]
        stop = Stop(**{k: v for k, v in newer[0].items() if k != "event"}) if newer else None
        time.sleep(0.02)
    safe = {robot: _for_good(each[:, 1] > 0, each, fault_s) for robot, each in rows.items()}
    speeds = {robot: np.abs(each[:, 2 + JOINTS :]).max(axis=1) for robot, each in rows.items()}
    stood = {r: _for_good(speeds[r] < STILL_RAD_S, rows[r], fault_s) for r in rows}
    others = [safe[robot] for robot in arms.robots[1:]] or [safe["arm0"]]
    return Trial(
        reaction_s=safe["arm0"],
        standing_s=stood["arm0"],
        peer_s=max(others),
        spread_s=max(safe.values()) - min(safe.values()),
        stayed=all(np.isfinite(list(stood.values()))),
        stop=stop,
    )


def _restart_dead(arms: ArmCell) -> None:
    for name, process in arms.cell.processes.items():
        if process.poll() is not None:
            arms.cell.start(name)


def _for_good(holds: np.ndarray, rows: np.ndarray, since_s: float) -> float:
    """Return after how long something held until the end; infinite where it never did."""
    broken = np.flatnonzero(~holds)
    first = int(broken[-1]) + 1 if broken.size else 0
    return float(rows[first, 0] - since_s) if first < len(rows) else float("inf")
