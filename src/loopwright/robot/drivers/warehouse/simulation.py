"""The one process in which the warehouse exists: physics in real time, nothing else.

It follows what the drives want, and holds every robot still whose drive is silent. When the machine
is too slow it lets simulated time fall behind rather than take larger steps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from loopwright.robot.drivers.warehouse.signals import (
    Wanted,
    WorldSignals,
    read_wanted,
    write_scene,
    write_state,
)
from loopwright.safety.guard.process import Ending
from loopwright.simulation.warehouse.model import RATE_HZ
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.simulation.warehouse.worldlog import WorldLogWriter, new_log

SILENT_S = 0.1
"""A drive that was silent for so long wants its robot to stand."""
_FARTHEST_BEHIND_S = 0.25


def run(folder: Path, ended: Callable[[], bool], log: WorldLogWriter | None = None) -> None:
    """Simulate in real time until told to end.

    Args:
        folder: Of the world's shared memory.
        ended: Asked before every step.
        log: Told of every step, so that it can all happen again.
    """
    signals = WorldSignals(folder)
    signals.create()
    world = Warehouse()
    wanted = {name: signals.wanted_reader(name) for name in world.robots}
    states = {name: signals.state_writer(name) for name in world.robots}
    scene_writer = signals.scene_writer()
    due_s = time.monotonic()
    while not ended():
        now_s = time.monotonic()
        commands = {name: _applied(read_wanted(r), now_s) for name, r in wanted.items()}
        if log is not None:
            log = _logged(log, world, commands)
        world.step(commands)
        now_s = time.monotonic()
        for name, robot in world.robots.items():
            write_state(states[name], robot.state(now_s))
        write_scene(scene_writer, world.scene(now_s))
        due_s = max(due_s + 1.0 / RATE_HZ, now_s - _FARTHEST_BEHIND_S)
        time.sleep(max(0.0, due_s - time.monotonic()))


def _logged(
    log: WorldLogWriter, world: Warehouse, commands: dict[str, np.ndarray | None]
) -> WorldLogWriter | None:
    """Write a step down; a world whose disk is full goes on without a log."""
    try:
        log.step(world, commands)
    except OSError as error:
        sys.stderr.write(f"the log of the world ends here: {error}\n")
        log.close()
        return None
    return log


def _applied(wanted: Wanted | None, now_s: float) -> np.ndarray | None:
    """Return what the motors follow; None to stand."""
    if wanted is None or wanted.stopping or now_s - wanted.time_s > SILENT_S:
        return None
    return wanted.applied


def main() -> None:
    """Simulate as long as whoever started the process lives."""
    parser = argparse.ArgumentParser(prog="loopwright.robot.drivers.warehouse.simulation")
    parser.add_argument("world", type=Path, help="folder of the shared memory")
    parser.add_argument("log", type=Path, nargs="?", help="folder for the log of the world")
    parser.add_argument("--parent", type=int)
    given = parser.parse_args()
    log = WorldLogWriter(new_log(given.log)) if given.log else None
    run(given.world, Ending(given.parent), log)


if __name__ == "__main__":
    main()
