"""A toy fleet behind real doors: HTTP and MCP on a loopback port."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from toy_robots import SKILLS, ToyBrain, ToyMemory, ToyRunner, ToyWorld

from loopwright.robot.access import Access, AccessRole
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.journal.journal import Journal
from loopwright.robot.memory.estimate import Estimate
from loopwright.robot.memory.memory import Memory
from loopwright.robot.memory.things import Thing, Things
from loopwright.robot.sighting import Sighting
from loopwright.robot.wires.desk import Cameras
from loopwright.robot.wires.http import make_app
from loopwright.robot.wires.serve import Server, serve

THINGS = Things(
    (
        *(
            Thing(name=name, kind="station", position_m=(0.0, 0.0, 0.0), radius_m=1.0)
            for name in ("north", "south")
        ),
        Thing(name="r1", kind="robot"),
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

    def client(self, role: AccessRole | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.access.tokens[role]}"} if role else {}
        return httpx.Client(base_url=self.server.url, headers=headers, timeout=30.0)


@contextmanager
def open_fleet(folder: Path, *, cameras: Cameras | None = None) -> Iterator[OpenFleet]:
    with ExitStack() as stack:
        bus, journal = LocalBus(), Journal(folder / "journal.db")
        memory = PlacesAndFacts(folder / "memory.db")
        stack.callback(bus.close)
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
        runner = ToyRunner("r1", ToyWorld())
        agent = Agent(
            robot="r1",
            parts=frozenset({"arm", "base"}),
            skills=SKILLS,
            runner=runner,
            log=IntentLog(folder / "r1.log"),
            bus=bus,
        )
        agent.start()
        stack.callback(agent.close)
        until_s = time.monotonic() + 10.0
        while not coordinator.look_at(lambda s: s.robots):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        access = Access.create(folder / "tokens.json")
        app = make_app(coordinator, memory, access, journal, cameras=cameras)
        server = stack.enter_context(serve(app))
        yield OpenFleet(folder, access, server, coordinator, memory, runner, journal)
