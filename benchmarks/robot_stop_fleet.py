"""The warehouse fleet with drives that note when they stop, and with robots that only jog.

Everything between whoever presses and the motors is as ``loopwright up`` has it: doors, bus,
agents, cerebella, guards, watchdog, drives, physics. Two things are added: a drive notes every
change between moving and its safe state, with the time at which it had told the motors; and robots
have one skill, to move a little to and fro until they are stopped.

::

    python -m benchmarks.robot_stop_fleet fleet FOLDER PRIORITY
    python -m benchmarks.robot_stop_fleet robot SITE ROBOT BUS PARENT
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from loopwright.robot import messages as say
from loopwright.robot.drivers.warehouse.actuators import WarehouseActuators
from loopwright.robot.fleet import fleet as fleet_room
from loopwright.robot.fleet import processes as processes_room
from loopwright.robot.fleet import warehouse as warehouse_room
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.skill import Hands, Motion, SkillSet, skill
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings
from loopwright.safety.body import RobotEntry
from loopwright.safety.guard.config import CellConfig, Part
from loopwright.safety.guard.process import Ending

ROOT = Path(__file__).parents[1]
CHANGE = struct.Struct("<2d")
"""When, and whether the motors were told to be in the safe state from then on."""
PRESSED = "pressed"
"""File in which a robot notes when it pressed."""


@skill(longest_s=3600.0, repeatable=False)
def jog(hands: Hands) -> Motion:
    """Turn one joint to and fro, gently, until stopped."""
    while True:
        command = np.array(hands.driver.grips(), dtype=float)
        command[0] = 0.02 * math.sin(2.0 * time.monotonic())
        yield command


class NotingActuators(WarehouseActuators):
    """Motors of a robot, with a note whenever they are told something else than before."""

    def __init__(self, robot: str, world: Path, notes: Path) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._stopping: bool | None = None
        super().__init__(robot, world)

    def _tell(self, applied: np.ndarray, *, stopping: bool) -> None:
        super()._tell(applied, stopping=stopping)
        if stopping is not self._stopping:
            self._stopping = stopping
            os.write(self._notes, CHANGE.pack(time.monotonic(), stopping))


def make_actuators(*, robot: str, entry: RobotEntry, world: str, notes: str) -> NotingActuators:
    return NotingActuators(robot, Path(world), Path(notes) / f"{robot}.drive")


def read_changes(notes: Path, robot: str) -> np.ndarray:
    """Return ``(rows, 2)``: when, and whether stopping from then on."""
    raw = (notes / f"{robot}.drive").read_bytes()
    return np.frombuffer(raw[: len(raw) // CHANGE.size * CHANGE.size], "<f8").reshape(-1, 2)


def be_fleet(folder: Path, priority: int) -> None:
    """Run the fleet until the input ends; prints where it is, as JSON.

    Args:
        folder: Of the fleet.
        priority: Real-time priority of guards, drives and watchdog; 0 leaves it as it is.
    """
    cell_of = fleet_room.cell_of

    def noting(site: FleetSite) -> CellConfig:
        cell = cell_of(site)
        robots = []
        for robot in cell.robots:
            config = {**robot.actuators.config, "notes": str(folder)}
            made = Part(entry="benchmarks.robot_stop_fleet:make_actuators", config=config)
            robots.append(replace(robot, actuators=made))
        return replace(cell, robots=tuple(robots), priority=priority or cell.priority)

    buses: list[str] = []

    def start(self: processes_room.RobotProcesses, robot: str) -> subprocess.Popen[bytes]:
        buses.append(self._bus)
        self._started_s[robot] = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.robot_stop_fleet", "robot"]
        with (self._site.agents / f"{robot}.err").open("ab") as said:
            return subprocess.Popen(
                [*command, str(self._site.folder), robot, self._bus, str(os.getpid())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    fleet_room.cell_of = noting
    processes_room.RobotProcesses._start = start
    with fleet_room.run_fleet(folder) as fleet:
        robots = {name: p.pid for name, p in fleet.processes.running.items()}
        where = {"url": fleet.url, "bus": buses[0], "robots": robots}
        print(json.dumps({**where, "signals": str(fleet.cell.config.signals)}), flush=True)
        sys.stdin.read()


def be_robot(folder: Path, robot: str, endpoint: str, parent: int) -> None:
    """Be one robot, which presses the stop of all when it gets SIGUSR1."""
    pressed = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: pressed.set())
    ended, site = Ending(parent), FleetSite(folder)
    warehouse_room.skills_of = lambda robot: SkillSet(jog)
    bus = ZenohBus(ZenohSettings(name=robot, connect=(endpoint,)), site.membership(robot))
    agent = warehouse_room.RobotAgent(site, robot, bus)
    agent.start()
    notes = os.open(folder / PRESSED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        while not ended():
            if pressed.wait(0.1):
                pressed.clear()
                now_s = time.monotonic()
                bus.publish(say.ALL_ROBOTS, say.Stop(by=robot))
                os.write(notes, CHANGE.pack(now_s, 1.0))
    finally:
        agent.close()
        bus.close()


def main() -> None:
    role, *rest = sys.argv[1:]
    if role == "fleet":
        be_fleet(Path(rest[0]), int(rest[1]))
    else:
        be_robot(Path(rest[0]), rest[1], rest[2], int(rest[3]))


if __name__ == "__main__":
    main()
