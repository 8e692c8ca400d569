"""A running fleet: starts everything in order, and ends it in the reverse."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loopwright.core.errors import SafetyError
from loopwright.robot import messages as say
from loopwright.robot.access import Access
from loopwright.robot.brain.default import SymbolicBrain
from loopwright.robot.bus import Bus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.drivers.warehouse.cameras import WarehouseCameras
from loopwright.robot.drivers.warehouse.senses import Camera
from loopwright.robot.drivers.warehouse.signals import WorldSignals, read_scene
from loopwright.robot.drivers.warehouse.things import things as warehouse_things
from loopwright.robot.fleet.processes import RobotProcesses, run_robots
from loopwright.robot.fleet.release import check_release
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.fleet.warehouse import cell_of, world_folder
from loopwright.robot.journal.fold import TaskState
from loopwright.robot.journal.journal import Entry, Journal
from loopwright.robot.knowledge import Brain
from loopwright.robot.latch import write_releases
from loopwright.robot.memory.memory import Memory
from loopwright.robot.memory.things import Things
from loopwright.robot.wires.desk import Released
from loopwright.robot.wires.http import make_app
from loopwright.robot.wires.serve import ServerSettings, serve
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings
from loopwright.safety.guard.cell import Cell, run_cell
from loopwright.safety.guard.signals import LineState
from loopwright.safety.guard.stops import press_stop, put_release
from loopwright.safety.keys import KeyRing
from loopwright.simulation.warehouse import layout

CAMERA_PERIOD_S = 0.5
_JOIN_WITHIN_S = 30.0


class Fleet:
    """Everything that runs, for whoever shows or serves it."""

    def __init__(
        self,
        site: FleetSite,
        cell: Cell,
        coordinator: Coordinator,
        memory: Memory,
        bus: Bus,
        processes: RobotProcesses,
    ) -> None:
        """Hold the parts."""
        self.site, self.cell, self.coordinator = site, cell, coordinator
        self.memory, self.bus, self.processes = memory, bus, processes
        self.url = ""
        """Where it answers over HTTP and MCP."""

    def robots(self) -> tuple[str, ...]:
        """Return the robots that are at work."""
        return tuple(sorted(self.coordinator.at_work()))

    def carry_out(self, instruction: str, *, by: str) -> TaskState:
        """Have an instruction carried out; returns when the task is over."""
        task = self.coordinator.ask(instruction, by=by)
        while True:
            state = self.coordinator.wait(task, timeout_s=1.0)
            if state.status == "ended" or self.coordinator.failure:
                return state

    def stop(self, robot: str | None, *, by: str) -> None:
        """Emergency stop; of everything, the line of the guards first."""
        try:
            if robot is None:
                press_stop(self.cell.config.signals, by, "the stop of the fleet")
        finally:  # a button that does not work keeps no robot from being told
            self.coordinator.stop(robot, by=by)

    def release(self, robot: str | None, *, by: str, signature: str) -> Released:
        """Release a stop: of the robots whose stop is signed for, and of nothing else.

        Args:
            robot: Which; None for all, and for the line of their guards.
            by: Who asks.
            signature: What :meth:`FleetSite.sign_releases` returned.

        Returns:
            What was released.

        Raises:
            InvalidConfig: It is no signed release, or holds none.
            Untrusted: It is not an operator's, or about no stop that holds now.
            SafetyError: A stop of the fleet would be released in part, or the guards did not
                accept it.
        """
        line = self.site.stop_of_the_line() if robot is None else None
        ring = KeyRing.read(self.site.ring)
        checked = check_release(signature, self.site.stops(robot), line, ring)
        whole = robot is None and not checked.left
        if not whole and self.coordinator.look_at(lambda state: None in state.stops):
            raise SafetyError(
                "the whole fleet is stopped, which is released as a whole; this leaves "
                f"{', '.join(checked.left) or 'the others'} stopped"
            )
        if checked.line is not None:
            put_release(self.cell.config.releases, checked.line)
            self.cell.wait_until(LineState.UP)
        for name in (None,) if whole else checked.robots:
            self.coordinator.release(name, by=by, signature=signature)
        return Released(robots=checked.robots, whole=whole)

    def wait_for_robots(self, within_s: float = _JOIN_WITHIN_S) -> None:
        """Wait until every robot has reported for work.

        Raises:
            SafetyError: One has not.
        """
        until_s = time.monotonic() + within_s
        while missing := set(layout.ROBOTS) - set(self.robots()):
            if time.monotonic() > until_s:
                break
            time.sleep(0.05)
        else:
            return
        raise SafetyError(f"{sorted(missing)} did not report for work within {within_s:g} s")


@contextmanager
def run_fleet(
    folder: Path,
    *,
    brain: Callable[[Things], Brain] = SymbolicBrain,
    on_entry: Callable[[Entry], None] | None = None,
    release: str = "",
    port: int = 0,
) -> Iterator[Fleet]:
    """Run the warehouse fleet for the length of a block.

    Args:
        folder: The fleet's folder; a journal in it is gone on with.
        brain: Who makes graphs, given what there is.
        on_entry: Told of everything that is written into the journal.
        release: What was found and done about a stop that is still open; it is released then.
        port: Of its HTTP door; 0 for a free one.

    Raises:
        SafetyError: A part did not come up; the message says which and where to look.
    """
    site = FleetSite.open(folder)
    things = warehouse_things()
    with ExitStack() as stack:
        stack.enter_context(site.alone())
        stack.enter_context(_world(site))
        cameras = _cameras(site)
        site.enrol(layout.ROBOTS, [camera.name for camera in cameras])
        cell = stack.enter_context(run_cell(cell_of(site)))
        endpoint = f"tcp/127.0.0.1:{_free_port()}"
        # The cameras of this world are in the process of the coordinator.
        membership = site.membership("coordinator", *(camera.name for camera in cameras))
        bus = ZenohBus(ZenohSettings(name="coordinator", listen=endpoint), membership)
        stack.callback(bus.close)
        memory = Memory(site.memory, things)
        stack.callback(memory.close)
        journal = Journal(site.journal)
        stack.callback(journal.close)
        coordinator = Coordinator(
            journal=journal,
            memory=memory,
            brain=brain(things),
            bus=bus,
            on_entry=on_entry,
        )

        def bury(robot: str) -> None:
            if _let_rest(cell, robot):
                coordinator.died(robot, reason="its process died")

        robots = stack.enter_context(run_robots(site, tuple(layout.ROBOTS), endpoint, bury))
        _raise_the_line(cell, site, release)
        stack.enter_context(_watching(cameras, bus))
        coordinator.start()
        stack.callback(coordinator.close)
        fleet = Fleet(site, cell, coordinator, memory, bus, robots)
        pictures = WarehouseCameras(world_folder(site), site.folder / "painter.err")
        stack.callback(pictures.close)
        access = Access.read(site.tokens)
        door = make_app(coordinator, memory, access, journal, button=fleet, cameras=pictures)
        server = stack.enter_context(serve(door, ServerSettings(port=port)))
        fleet.url = server.url
        site.write_address(server.url)
        stack.callback(site.address.unlink, missing_ok=True)
        fleet.wait_for_robots()
        if release and site.stopped():  # the line is up again; what is left are the robots' own
            fleet.release(None, by="operator", signature=site.sign_releases(None, release))
        elif release and coordinator.look_at(lambda state: state.stops):
            # Nothing holds any more but the journal; what was signed lies beside the line's log.
            coordinator.release(None, by="operator", signature=write_releases())
        bus.publish(say.ALL_ROBOTS, say.Look(coordinator_epoch=0))
        yield fleet


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def _let_rest(cell: Cell, robot: str) -> bool:
    """Ask for the safe state in the place of a process that died, so that only it stops.

    Returns whether it could: else there is a policy, so the robot may move.
    """
    try:
        stand_in = cell.policy_side(robot)
    except SafetyError:
        return False
    stand_in.rest()
    stand_in.close()
    return True


def _raise_the_line(cell: Cell, site: FleetSite, release: str) -> None:
    """Wait until everybody may move; a stop of an earlier run stays until it is released."""
    line = cell.line()
    until_s = time.monotonic() + _JOIN_WITHIN_S
    while line is None or line.state is LineState.ARMING:
        if time.monotonic() > until_s:
            break
        time.sleep(0.02)
        line = cell.line()
    if line is not None and line.state is LineState.DOWN:
        stop = cell.stop()
        if not release:
            what = f"stop {stop.number}, {stop.robot}: {stop.reason}" if stop else "a stop"
            raise SafetyError(
                f"{what} of an earlier run is still open; look into {site.cell}, then start with "
                '--release "what was found, and what was done"'
            )
        cell.release(site.operator_key(), release)
    cell.wait_until(LineState.UP)


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
            str(site.worlds),
            "--parent",
            str(os.getpid()),
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


def _cameras(site: FleetSite) -> list[Camera]:
    """Return the cameras of the simulated world, one a station."""
    scenes = WorldSignals(world_folder(site)).scene_reader()
    return [Camera(station, lambda: read_scene(scenes)) for station in layout.STATIONS]


@contextmanager
def _watching(cameras: Sequence[Camera], bus: Bus) -> Iterator[None]:
    """Let the cameras report what they see, regularly and when asked."""
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
