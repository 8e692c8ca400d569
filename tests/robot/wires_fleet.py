"""A toy fleet behind real doors: HTTP and MCP on a loopback port."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from toy_robots import SKILLS, ToyBrain, ToyMemory, ToyRunner, ToyWorld

from loopwright.core.errors import StorageError
from loopwright.robot.access import Access, AccessRole
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.fleet.fleet import Fleet
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.journal.journal import Journal
from loopwright.robot.latch import StopLatch
from loopwright.robot.memory.estimate import Estimate
from loopwright.robot.memory.memory import Memory
from loopwright.robot.memory.things import Thing, Things
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import SkillSet
from loopwright.robot.wires.desk import Cameras
from loopwright.robot.wires.http import make_app
from loopwright.robot.wires.serve import Server, serve
from loopwright.safety.keys import KeyRing

THINGS = Things(
    (
        *(
            Thing(name=name, kind="station", position_m=(0.0, 0.0, 0.0), radius_m=1.0)
            for name in ("north", "south", "door", "bench")
        ),
        Thing(name="r1", kind="robot"),
        Thing(name="r2", kind="robot"),
        Thing(name="red-cube", kind="object", properties={"color": "red"}),
    )
)


class PlacesAndFacts(ToyMemory):
    """Facts of the toy world, and the places of a real memory."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places = Memory(path, THINGS)
        self.things = THINGS

    def take(self, sightings: Iterable[Sighting]) -> None:
        seen = tuple(sightings)
        super().take(s for s in seen if s.entity == "world")
        self.places.take(seen)

    def where(self, entity: str) -> Estimate | None:
        return self.places.where(entity)

    def where_was(self, entity: str, at_s: float) -> Sighting | None:
        return self.places.where_was(entity, at_s)


class LatchedRunner(ToyRunner):
    """A robot of the toy world with the latch of a real one."""

    def __init__(self, robot: str, world: ToyWorld, site: FleetSite) -> None:
        super().__init__(robot, world)
        self._latch = StopLatch(site.latch(robot), robot, KeyRing.read(site.ring))

    def stop(self, reason: str) -> None:
        self._latch.press(reason)
        super().stop(reason)

    def release(self, by: str, signature: str) -> None:
        self._latch.release(signature)
        super().release(by, signature)


def button_of(site: FleetSite, coordinator: Coordinator) -> Fleet:
    """Return what presses and releases in a real fleet; its guards are none, and always ready."""
    line = site.folder / "line"
    line.mkdir(exist_ok=True)
    config = SimpleNamespace(signals=line, releases=line)
    cell: Any = SimpleNamespace(config=config, wait_until=lambda state: None)
    rest: Any = None
    return Fleet(site, cell, coordinator, rest, rest, rest)


@dataclass
class OpenFleet:
    """One robot at work, and the doors to it."""

    folder: Path
    access: Access
    server: Server
    coordinator: Coordinator
    memory: PlacesAndFacts
    runner: ToyRunner
    journal: Journal
    site: FleetSite
    bus: LocalBus

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let somebody hold the coordinator's lock, as on a disk that does not answer."""
        holds, ends = threading.Event(), threading.Event()

        def hold(_: object) -> None:
            holds.set()
            ends.wait(30.0)

        holder = threading.Thread(target=self.coordinator.look_at, args=(hold,))
        holder.start()
        assert holds.wait(5.0)
        try:
            yield
        finally:
            ends.set()
            holder.join()

    def break_disk(self) -> None:
        """Let the journal fail, and with it the coordinator."""
        self.journal.sync = _fails  # type: ignore[method-assign]
        with suppress(StorageError):
            self.coordinator.ask("ring", by="test")
        assert self.coordinator.failure is not None

    def client(self, role: AccessRole | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.access.tokens[role]}"} if role else {}
        return httpx.Client(base_url=self.server.url, headers=headers, timeout=30.0)


def _fails() -> None:
    raise StorageError("the disk is full")


@contextmanager
def open_fleet(
    folder: Path, *, cameras: Cameras | None = None, second: SkillSet | None = None
) -> Iterator[OpenFleet]:
    """Run r1 behind doors, and r2 if it has skills."""
    site = FleetSite.open(folder)
    with ExitStack() as stack:
        bus, journal = LocalBus(), Journal(folder / "journal.db")
        memory = PlacesAndFacts(folder / "memory.db")
        stack.callback(bus.close)
        stack.callback(shutil.rmtree, site.signals, ignore_errors=True)
        stack.callback(memory.places.close)
        coordinator = Coordinator(
            journal=journal,
            memory=memory,
            brain=ToyBrain(),
            bus=bus,
            rules=Rules(patience_s=0.3, grace_s=0.5),
        )
        coordinator.start()
        stack.callback(coordinator.close)
        runner = LatchedRunner("r1", ToyWorld(), site)
        skills = {"r1": SKILLS} | ({"r2": second} if second else {})
        for robot, known in skills.items():
            agent = Agent(
                robot=robot,
                parts=frozenset({"arm", "base"}),
                skills=known,
                runner=runner if robot == "r1" else LatchedRunner(robot, runner.world, site),
                log=IntentLog(folder / f"{robot}.log"),
                bus=bus,
            )
            agent.start()
            stack.callback(agent.close)
        until_s = time.monotonic() + 10.0
        while len(coordinator.look_at(lambda s: tuple(s.robots))) < len(skills):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        access = Access.create(folder / "tokens.json")
        button = button_of(site, coordinator)
        app = make_app(coordinator, memory, access, journal, button=button, cameras=cameras)
        server = stack.enter_context(serve(app))
        yield OpenFleet(folder, access, server, coordinator, memory, runner, journal, site, bus)
