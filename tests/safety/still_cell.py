"""A whole cell in one process and in made-up time: guards, drives and watchdog beat in turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sliding_robot
from guarded_cell import cell_config

from loopwright.core.errors import RecorderLost
from loopwright.safety.guard.actuators import PlantActuators
from loopwright.safety.guard.clock import Tick
from loopwright.safety.guard.config import Bounds, CellConfig
from loopwright.safety.guard.drive import Drive
from loopwright.safety.guard.drive import Wiring as DriveWiring
from loopwright.safety.guard.loop import Guard, Parts
from loopwright.safety.guard.loop import Wiring as GuardWiring
from loopwright.safety.guard.ports import Leave, StepFacts
from loopwright.safety.guard.releases import Releases
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
    StopLog,
    newest_stop,
    put_release,
    read_stop_log,
    sign_release,
)
from loopwright.safety.guard.watchdog import Papers, Watchdog, Watched
from loopwright.safety.keys import KeyRing, SigningKey

BEAT_S = 1.0 / sliding_robot.RATE_HZ


class Listening:
    """A recorder that keeps everything, and can be broken."""

    def __init__(self) -> None:
        self.steps: list[StepFacts] = []
        self.notes: list[str] = []
        self.broken = False

    def step(self, facts: StepFacts) -> None:
        self._check()
        self.steps.append(facts)

    def note(self, channel: str, text: str) -> None:
        self._check()
        self.notes.append(text)

    def _check(self) -> None:
        if self.broken:
            raise RecorderLost("no space is left")

    def close(self) -> None:
        pass


class Answering:
    """A watch that says what it is told to."""

    leave = Leave()

    def poll(self, now_s: float) -> Leave:
        return self.leave


@dataclass
class StillRobot:
    """One robot of the cell, with its processes that can be paused and replaced."""

    name: str
    policy: Writer[Request]
    recorder: Listening = field(default_factory=Listening)
    watch: Answering = field(default_factory=Answering)
    guard: Guard | None = None
    drive: Drive | None = None
    asks: object = None
    """What the policy sends at every beat: speeds, ``"rest"``, or None for silence."""
    command: Command | None = None

    @property
    def reason(self) -> str:
        assert self.command is not None
        return self.command.reason.name

    @property
    def stopping(self) -> bool:
        assert self.command is not None
        return self.command.stopping


class StillCell:
    """Beats in turn: policies, guards, drives, watchdog."""

    def __init__(self, folder: Path, *, robots: int = 1, bounds: Bounds | None = None) -> None:
        self.now_s = 100.0
        self.operator = SigningKey.new()
        self.bounds = bounds or Bounds()
        self.config: CellConfig = cell_config(
            folder, self.operator, robots=robots, bounds=self.bounds
        )
        self.paths = SignalPaths(self.config.signals)
        names = [robot.name for robot in self.config.robots]
        self.paths.create(dict.fromkeys(names, 2))
        self.line_reader = Reader(self.paths.line, Line)
        self.robots = [
            StillRobot(name=name, policy=Writer(self.paths.request(name), Request, 2))
            for name in names
        ]
        self._signals: dict[tuple[str, str], Writer] = {}
        for robot in self.robots:
            self.start_drive(robot)
            self.start_guard(robot)
        self.watchdog: Watchdog | None = None
        self.start_watchdog()

    def close(self) -> None:
        """Let go of the signals' files; hundreds of cells live in one process of tests."""
        for writer in (*self._signals.values(), *(robot.policy for robot in self.robots)):
            writer.close()

    def clock(self) -> float:
        return self.now_s

    def _writer(self, role: str, path: Path, kind: type, size: int) -> Writer:
        """Return a writer after the earlier one of that role has died."""
        earlier = self._signals.pop((role, path.name), None)
        if earlier is not None:
            earlier.close()
        self._signals[role, path.name] = Writer(path, kind, size)
        return self._signals[role, path.name]

    def start_guard(self, robot: StillRobot) -> None:
        name = robot.name
        robot.guard = Guard(
            name=name,
            place=self.robots.index(robot),
            spec=sliding_robot.spec(),
            wiring=GuardWiring(
                requests=Reader(self.paths.request(name), Request, 2),
                readings=Reader(self.paths.reading(name), Reading, 2),
                line=Reader(self.paths.line, Line),
                commands=self._writer("guard", self.paths.command(name), Command, 2),
            ),
            parts=Parts(
                safety_filter=sliding_robot.ClampingFilter(0.1),
                make_recorder=lambda: robot.recorder,
                watch=robot.watch,
                releases=Releases(
                    self.config.stop_log, self.config.releases, KeyRing.read(self.config.ring)
                ),
                log=StopLog(self.config.guard_log(name)),
            ),
            bounds=self.bounds,
            clock=self.clock,
        )

    def start_drive(self, robot: StillRobot) -> None:
        robot.drive = Drive(
            actuators=PlantActuators(
                sliding_robot.SlidingPlant(sliding_robot.RATE_HZ), clock=self.clock
            ),
            wiring=DriveWiring(
                commands=Reader(self.paths.command(robot.name), Command, 2),
                line=Reader(self.paths.line, Line),
                readings=self._writer("drive", self.paths.reading(robot.name), Reading, 2),
            ),
            bounds=self.bounds,
        )

    def start_watchdog(self) -> None:
        watched = [
            Watched(
                name=robot.name,
                commands=Reader(self.paths.command(robot.name), Command, 2),
                readings=Reader(self.paths.reading(robot.name), Reading, 2),
            )
            for robot in self.robots
        ]
        self.watchdog = Watchdog(
            cell=self.config.name,
            robots=watched,
            line=self._writer("watchdog", self.paths.line, Line, 0),
            papers=Papers(
                log=StopLog(self.config.stop_log),
                releases=self.config.releases,
                ring=KeyRing.read(self.config.ring),
                button=self.config.signals,
            ),
            bounds=self.bounds,
            clock=self.clock,
        )

    def run(self, seconds: float, *, late_s: float = 0.0) -> None:
        """Beat for some time; ``late_s`` delays the first beat of the guards."""
        for beat in range(max(1, round(seconds / BEAT_S))):
            self.now_s += BEAT_S
            for robot in self.robots:
                self._ask(robot)
            due_s = self.now_s - (late_s if beat == 0 else 0.0)
            on_time = Tick(due_s=self.now_s, now_s=self.now_s, missed=0)
            for robot in self.robots:
                if robot.guard is not None:
                    tick = Tick(due_s=due_s, now_s=self.now_s, missed=0)
                    robot.command = robot.guard.beat(tick)
            for robot in self.robots:
                if robot.drive is not None:
                    robot.drive.beat(on_time)
            if self.watchdog is not None:
                self.watchdog.beat(on_time)

    def _ask(self, robot: StillRobot) -> None:
        if robot.asks is None:
            return
        resting = robot.asks == "rest"
        values = np.zeros(2) if resting else np.asarray(robot.asks, float)
        robot.policy.write(Request(time_s=self.now_s, count=2, resting=resting, values=values))

    def move(self) -> None:
        """Bring every robot into motion."""
        self.run(0.05)
        assert self.line.state is LineState.UP
        for robot in self.robots:
            robot.asks = (0.3, 0.2)
        self.run(0.1)
        assert all(self.speed(robot) > 0.2 for robot in self.robots)

    def speed(self, robot: StillRobot) -> float:
        reading = Reader(self.paths.reading(robot.name), Reading, 2).read()
        assert reading is not None
        return float(np.max(np.abs(reading.speed)))

    @property
    def line(self) -> Line:
        line = self.line_reader.read()
        assert line is not None
        return line

    @property
    def stop(self) -> Stop | None:
        return newest_stop(read_stop_log(self.config.stop_log)[0])

    def release(self, key: SigningKey | None = None) -> None:
        assert self.stop is not None
        put_release(
            self.config.releases, sign_release(self.stop, key or self.operator, "looked into")
        )
