"""The life of each process of a cell: make the parts, take priority, beat until told to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from loopwright.safety.guard.clock import Tick, take_priority, ticks
from loopwright.safety.guard.config import CellConfig
from loopwright.safety.guard.drive import Drive
from loopwright.safety.guard.drive import Wiring as DriveWiring
from loopwright.safety.guard.loop import Guard, Parts
from loopwright.safety.guard.loop import Wiring as GuardWiring
from loopwright.safety.guard.releases import Releases
from loopwright.safety.guard.signals import (
    Command,
    Line,
    Reader,
    Reading,
    Request,
    SignalPaths,
    Writer,
)
from loopwright.safety.guard.stops import StopLog, say
from loopwright.safety.guard.watchdog import Papers, Watchdog, Watched
from loopwright.safety.keys import KeyRing


class Beating(Protocol):
    """What has a beat and an end."""

    def beat(self, tick: Tick) -> object:
        """Do what one beat asks for."""
        ...

    def close(self) -> None:
        """End in good order."""
        ...


def make_guard(config: CellConfig, name: str) -> tuple[Beating, float]:
    """Make the guard of a robot; return it with its rate.

    Raises:
        SafetyError: Another guard, perhaps a paused one, holds the robot.
        RecorderLost: There is no black box to begin with.
    """
    robot, paths = config.robot(name), SignalPaths(config.signals)
    body = robot.body()
    spec = body.spec
    # First of all, so that a second guard ends before it touches any record.
    commands = Writer(paths.command(name), Command, spec.size)
    safety_filter = robot.filter.make(body=body)
    guard = Guard(
        name=name,
        place=config.index(name),
        spec=spec,
        wiring=GuardWiring(
            requests=Reader(paths.request(name), Request, spec.size),
            readings=Reader(paths.reading(name), Reading, spec.size),
            line=Reader(paths.line, Line),
            commands=commands,
        ),
        parts=Parts(
            safety_filter=safety_filter,
            make_recorder=lambda: robot.recorder.make(
                robot=name, entry=robot.entry, spec=spec, filter_digest=safety_filter.digest
            ),
            watch=None if robot.watch is None else robot.watch.make(robot=name),
            releases=Releases(config.stop_log, config.releases, KeyRing.read(config.ring)),
            log=StopLog(config.guard_log(name)),
        ),
        bounds=config.bounds,
    )
    return guard, spec.rate_hz


def make_drive(config: CellConfig, name: str) -> tuple[Beating, float]:
    """Make the drive of a robot; return it with its rate.

    Raises:
        SafetyError: Another drive holds the robot.
    """
    robot, paths = config.robot(name), SignalPaths(config.signals)
    spec = robot.body().spec
    wiring = DriveWiring(
        commands=Reader(paths.command(name), Command, spec.size),
        line=Reader(paths.line, Line),
        readings=Writer(paths.reading(name), Reading, spec.size),
    )
    actuators = robot.actuators.make(robot=name, entry=robot.entry)
    return Drive(actuators=actuators, wiring=wiring, bounds=config.bounds), spec.rate_hz


def make_watchdog(config: CellConfig) -> tuple[Beating, float]:
    """Make the watchdog of a cell; return it with its rate.

    Raises:
        SafetyError: Another watchdog holds the line.
    """
    paths = SignalPaths(config.signals)
    line = Writer(paths.line, Line)
    watched = []
    for robot in config.robots:
        size = robot.body().spec.size
        watched.append(
            Watched(
                name=robot.name,
                commands=Reader(paths.command(robot.name), Command, size),
                readings=Reader(paths.reading(robot.name), Reading, size),
            )
        )
    watchdog = Watchdog(
        cell=config.name,
        robots=watched,
        line=line,
        papers=Papers(
            log=StopLog(config.stop_log),
            releases=config.releases,
            ring=KeyRing.read(config.ring),
            button=config.signals,
        ),
        bounds=config.bounds,
    )
    return watchdog, config.watchdog_hz


def live(made: tuple[Beating, float], *, priority: int, ended: Callable[[], bool]) -> None:
    """Beat at a rate until ``ended`` says so; an error ends the process, and so stops the robot."""
    beating, rate_hz = made
    granted = take_priority(priority)
    say(f"process {os.getpid()}: {', '.join(granted) or 'ordinary priority'}")
    beats, missed, worst_s = 0, 0, 0.0
    for tick in ticks(1.0 / rate_hz):
        if ended():
            break
        beating.beat(tick)
        beats, missed, worst_s = beats + 1, missed + tick.missed, max(worst_s, tick.late_s)
    beating.close()
    say(f"{beats} beats, {missed} missed, worst {1e3 * worst_s:.1f} ms late")


class Ending:
    """Whether the process was told to end: by SIGTERM or SIGINT, or by its parent's death."""

    def __init__(self, parent: int | None) -> None:
        """Listen from now on.

        Args:
            parent: Process that must be the parent, or None where nobody need be.
        """
        self._parent, self._told = parent, False
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGINT, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._told = True

    def __call__(self) -> bool:
        """Tell whether it is time."""
        return self._told or (self._parent is not None and os.getppid() != self._parent)
