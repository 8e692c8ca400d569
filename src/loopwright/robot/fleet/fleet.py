"""A running fleet: starts everything in order, and ends it in the reverse."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loopwright.core.errors import SafetyError
from loopwright.robot import messages as say
from loopwright.robot.brain.default import SymbolicBrain
from loopwright.robot.bus import Bus, LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.drivers.warehouse import layout
from loopwright.robot.drivers.warehouse.senses import Camera
from loopwright.robot.drivers.warehouse.signals import WorldSignals, read_scene
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.fleet.warehouse import RobotAgent, cell_of, world_folder
from loopwright.robot.journal.journal import Journal
from loopwright.robot.knowledge import Brain
from loopwright.robot.memory.memory import Memory
from loopwright.safety.guard.cell import Cell, run_cell
from loopwright.safety.guard.signals import LineState
from loopwright.safety.guard.stops import press_stop

CAMERA_PERIOD_S = 0.5
_JOIN_WITHIN_S = 30.0


class Fleet:
    """Everything that runs, for whoever shows or serves it."""

    def __init__(
        self, site: FleetSite, cell: Cell, coordinator: Coordinator, memory: Memory, bus: Bus
    ) -> None:
        """Hold the parts."""
        self.site, self.cell, self.coordinator = site, cell, coordinator
        self.memory, self.bus = memory, bus

    def stop(self, by: str, why: str) -> None:
        """Emergency stop of everything: the cell's button first, then the coordinator."""
        press_stop(self.cell.config.signals, by, why)
        self.coordinator.stop(None, by=by)

    def release(self, by: str, note: str) -> None:
        """Release the stop with the operator's key.

        Raises:
            SafetyError: There is nothing to release.
        """
        self.cell.release(self.site.operator_key(), note)
        self.cell.wait_until(LineState.UP)
        self.coordinator.release(None, by=by, signature=note)

    def wait_for_robots(self, within_s: float = _JOIN_WITHIN_S) -> None:
        """Wait until every robot has reported for work.

        Raises:
            SafetyError: One has not.
        """
        until_s = time.monotonic() + within_s
        missing = set(layout.ROBOTS)
        while time.monotonic() < until_s:
            alive = self.coordinator.look_at(
                lambda state: {r.name for r in state.robots.values() if r.alive}
            )
            missing = set(layout.ROBOTS) - alive  # pyright: ignore[reportOperatorIssue]
            if not missing:
                return
            time.sleep(0.05)
        raise SafetyError(f"{sorted(missing)} did not report for work within {within_s:g} s")


@contextmanager
def run_fleet(folder: Path, *, brain: Brain | None = None) -> Iterator[Fleet]:
    """Run the warehouse fleet for the length of a block.

    Args:
        folder: The fleet's folder; a journal in it is gone on with.
        brain: Makes graphs; the symbolic one by default.

    Raises:
        SafetyError: A part did not come up; the message says which and where to look.
    """
    site = FleetSite.open(folder)
    things = layout.things()
    with ExitStack() as stack:
        stack.enter_context(_world(site))
        cell = stack.enter_context(run_cell(cell_of(site)))
        bus = LocalBus()
        stack.callback(bus.close)
        memory = Memory(site.memory, things)
        stack.callback(memory.close)
        journal = Journal(site.journal)
        stack.callback(journal.close)
        coordinator = Coordinator(
            journal=journal, memory=memory, brain=brain or SymbolicBrain(things), bus=bus
        )
        for robot in layout.ROBOTS:
            agent = RobotAgent(site, robot, bus)
            agent.start()
            stack.callback(agent.close)
        cell.wait_until(LineState.UP)
        stack.enter_context(_cameras(site, bus))
        coordinator.start()
        stack.callback(coordinator.close)
        fleet = Fleet(site, cell, coordinator, memory, bus)
        fleet.wait_for_robots()
        bus.publish(say.ALL_ROBOTS, say.Look(coordinator_epoch=0))
        yield fleet


@contextmanager
def _world(site: FleetSite) -> Iterator[None]:
    """Let the simulated world exist."""
    WorldSignals(world_folder(site)).create()
    log = (site.folder / "world.err").open("ab")
    world = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "loopwright.robot.drivers.warehouse.simulation",
            str(world_folder(site)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    try:
        yield
    finally:
        world.terminate()
        world.wait(timeout=10.0)
        log.close()


@contextmanager
def _cameras(site: FleetSite, bus: Bus) -> Iterator[None]:
    """Let the cameras report what they see, regularly and when asked."""
    scenes = WorldSignals(world_folder(site)).scene_reader()
    cameras = [Camera(station, lambda: read_scene(scenes)) for station in layout.STATIONS]
    ended = threading.Event()
    lock = threading.Lock()

    def report(_: object = None) -> None:
        with lock:
            for camera in cameras:
                seen = tuple(s.to_json() for s in camera.look())
                bus.publish(say.REPORTS, say.Seen(by=camera.name, sightings=seen))

    def watch() -> None:
        while not ended.wait(CAMERA_PERIOD_S):
            report()

    def hear(message: say.Message) -> None:
        if isinstance(message, say.Look):
            report()

    thread = threading.Thread(target=watch, name="cameras", daemon=True)
    end = bus.subscribe(say.ALL_ROBOTS, hear)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        end()
        thread.join(timeout=5.0)
