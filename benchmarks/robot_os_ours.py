"""Robots with a no-op skill under Loopwright: coordinator, HTTP and agents as they are.

The skill ``carry`` puts a box somewhere else by writing a file, and notes when. Where boxes are is
seen by a camera and by the robots, with poses, and judged by the world memory. The robots are in
the coordinator's process on the local bus, or each in a process of its own on Zenoh.

::

    python -m benchmarks.robot_os_ours fleet FOLDER BUS MODEL ROBOT,...
    python -m benchmarks.robot_os_ours robot NAME FOLDER ENDPOINT
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Literal

from benchmarks.robot_os_model import ROOT
from loopwright.robot import messages as say
from loopwright.robot.access import Access
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.brain.endpoint import Endpoint, EndpointBrain
from loopwright.robot.bus import Bus, LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.journal.journal import Journal
from loopwright.robot.memory.memory import Memory
from loopwright.robot.memory.things import Thing, Things
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import Entity, Hands, Motion, Place, SkillSet, skill
from loopwright.robot.wires.http import make_app
from loopwright.robot.wires.membership import Membership, enrol
from loopwright.robot.wires.serve import serve
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings

BusKind = Literal["local", "zenoh"]
BOX = "box-1"
TABLES = ("table-a", "table-b")
HEIGHT_M, BOX_M, SIGMA_M = 0.7, 0.05, 0.004
CAMERA_PERIOD_S = 0.5
LASTS = "lasts_s"
"""File with the seconds that the skill takes; none is no time at all."""


@skill(
    requires=("on(?object, ?start)",),
    ensures=("on(?object, ?goal)", "not on(?object, ?start)"),
    resources=("arm",),
)
def carry(hands: Hands, object: Entity, start: Place, goal: Place) -> Motion:
    """Carry a box from one table to another."""
    yield None


SKILLS = SkillSet(carry)


def things_with(robots: tuple[str, ...]) -> Things:
    """Return what there is."""
    tables = (
        Thing(
            name=name,
            kind="surface",
            position_m=(3.0 * place, 0.0, HEIGHT_M),
            size_m=(1.0, 1.0, 0.3),
            capacity=4,
        )
        for place, name in enumerate(TABLES)
    )
    box = Thing(name=BOX, kind="object", size_m=(BOX_M, BOX_M, BOX_M))
    return Things((*tables, box, *(Thing(name=r, kind="robot", parts=("arm",)) for r in robots)))


@dataclass(frozen=True, slots=True)
class World:
    """Where the box truly is: a file, so that every process sees the same."""

    folder: Path

    def move(self, goal: str) -> None:
        partial = self.folder / f".box.{os.getpid()}"
        partial.write_text(goal)
        partial.replace(self.folder / "box")

    def seen(self, by: str) -> tuple[Sighting, ...]:
        seen_s = time.time()
        place = TABLES.index((self.folder / "box").read_text())
        pose = (3.0 * place, 0.0, HEIGHT_M + BOX_M / 2, 1.0, 0.0, 0.0, 0.0)
        return (Sighting(entity=BOX, by=by, time_s=seen_s, pose=pose, sigma_m=SIGMA_M),)


class NoopRunner:
    """Does the skill at once, or after as long as a file says."""

    def __init__(self, robot: str, folder: Path) -> None:
        self._robot, self._world, self._lasts = robot, World(folder), folder / LASTS
        self._log = os.open(folder / "skills.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._latched = ""

    def run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        began_s = time.monotonic()
        goal = str(order.values["goal"])
        if self._lasts.exists() and cancelled.wait(float(self._lasts.read_text())):
            return "cancelled", "asked to stop"
        self._world.move(goal)
        line = f"{self._robot} {BOX} {goal} {began_s!r} {time.monotonic()!r}\n"
        os.write(self._log, line.encode())
        return "finished", ""

    def look(self) -> tuple[Sighting, ...]:
        return self._world.seen(self._robot)

    def held(self) -> str | None:
        return self._latched or None

    def stop(self, reason: str) -> None:
        self._latched = reason

    def release(self, by: str, signature: str) -> None:
        self._latched = ""


def make_agent(robot: str, folder: Path, bus: Bus) -> Agent:
    return Agent(
        robot=robot,
        parts=frozenset({"arm"}),
        skills=SKILLS,
        runner=NoopRunner(robot, folder),
        log=IntentLog(folder / f"{robot}.log"),
        bus=bus,
    )


def run_robot(robot: str, folder: Path, endpoint: str) -> None:
    """Be a robot, until the process is killed or its parent is gone."""
    parent = os.getppid()
    bus = ZenohBus(ZenohSettings(name=robot, connect=(endpoint,)), Membership.read(folder, robot))
    agent = make_agent(robot, folder, bus)
    agent.start()
    while os.getppid() == parent:
        time.sleep(0.5)


def run_fleet(folder: Path, kind: BusKind, model: str, robots: tuple[str, ...]) -> None:
    """Be the coordinator with its doors, until the input ends; prints where it is, as JSON."""
    things = things_with(robots)
    World(folder).move(TABLES[0])
    with ExitStack() as stack:
        endpoint = ""
        if kind == "local":
            bus: Bus = LocalBus()
        else:
            endpoint = f"tcp/127.0.0.1:{_free_port()}"
            settings = ZenohSettings(name="coordinator", listen=endpoint)
            enrol(folder, "coordinator", "coordinator")
            enrol(folder, "camera", "camera")
            enrol(folder, "robot", *robots)
            bus = ZenohBus(settings, Membership.read(folder, "coordinator", "camera"))
        stack.callback(bus.close)
        journal, memory = Journal(folder / "journal.db"), Memory(folder / "memory.db", things)
        stack.callback(journal.close)
        stack.callback(memory.close)
        brain = EndpointBrain(Endpoint(base_url=model, model="stub"), things)
        coordinator = Coordinator(journal=journal, memory=memory, brain=brain, bus=bus)
        coordinator.start()
        stack.callback(coordinator.close)
        stack.enter_context(_camera(folder, bus))
        if kind == "local":
            for robot in robots:
                agent = make_agent(robot, folder, bus)
                agent.start()
                stack.callback(agent.close)
        access = Access.create(folder / "tokens.json")
        server = stack.enter_context(serve(make_app(coordinator, memory, access, journal)))
        print(json.dumps({"url": server.url, "endpoint": endpoint}), flush=True)
        sys.stdin.read()


@contextmanager
def _camera(folder: Path, bus: Bus) -> Iterator[None]:
    """See the box regularly, and whenever somebody asks."""
    world, ended = World(folder), threading.Event()

    def report() -> None:
        seen = tuple(s.to_json() for s in world.seen("camera"))
        bus.publish(say.REPORTS, say.Seen(by="camera", sightings=seen))

    def watch() -> None:
        while not ended.wait(CAMERA_PERIOD_S):
            report()

    def hear(message: say.Message) -> None:
        if isinstance(message, say.Look):
            report()

    end = bus.subscribe(say.ALL_ROBOTS, hear)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        end()
        thread.join()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# From the outside --------------------------------------------------------------------------------


class OurFleet:
    """A running fleet, as a client on the same machine sees it: HTTP, and a log of its skills."""

    def __init__(self, folder: Path, url: str, endpoint: str) -> None:
        self.folder, self._endpoint = folder, endpoint
        self._tokens = json.loads((folder / "tokens.json").read_text())
        host, _, port = url.removeprefix("http://").partition(":")
        self._http = HTTPConnection(host, int(port), timeout=60.0)
        self._asked_s = 0.0
        self.robots: dict[str, subprocess.Popen[bytes]] = {}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request over the one connection, and return the answer."""
        if time.monotonic() - self._asked_s > 2.0:
            self._http.close()  # the server may have, and the next request opens it again
        self._asked_s = time.monotonic()
        data = None if body is None else json.dumps(body)
        head = {
            "Authorization": f"Bearer {self._tokens['operate']}",
            "Content-Type": "application/json",
        }
        self._http.request(method, path, data, head)
        answer = self._http.getresponse()
        found = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {found}")
        return found

    def publish(self, instruction: str) -> str:
        """Publish an instruction as RoboOS's clients do; return the task once it is planned."""
        return str(self.call("POST", "/publish_task", {"task": instruction})["tasks"][0])

    def carry_out(self, instruction: str) -> float:
        """Publish an instruction; return when the result was there."""
        return self.ended(self.publish(instruction))

    def follow(self, graph: dict[str, Any]) -> float:
        """Publish a graph; return when the result was there."""
        task = self.call("POST", "/tasks", {"instruction": "as given", "graph": graph})["task"]
        return self.ended(str(task))

    def ended(self, task: str) -> float:
        """Wait for a result; return when it was there."""
        result = self.call("GET", f"/tasks/{task}/result?wait_s=30")
        ended_s = time.monotonic()
        if result["outcome"] != "succeeded":
            raise RuntimeError(f"the errand did not succeed: {result}")
        return ended_s

    def box_on(self) -> str:
        return (self.folder / "box").read_text()

    def skills(self) -> list[list[str]]:
        """Return what skills noted: robot, box, goal, begin, end."""
        return [line.split() for line in (self.folder / "skills.log").read_text().splitlines()]

    def at_work(self) -> set[str]:
        """Return the robots at work."""
        return {r["name"] for r in self.call("GET", "/robots")["robots"] if r["alive"]}

    def start_robot(self, robot: str) -> None:
        command = [sys.executable, "-m", "benchmarks.robot_os_ours", "robot", robot]
        self.robots[robot] = subprocess.Popen(
            [*command, str(self.folder), self._endpoint], cwd=ROOT, stdin=subprocess.DEVNULL
        )

    def kill_robot(self, robot: str) -> float:
        """Kill a robot with signal 9, and return when."""
        killed_s = time.monotonic()
        self.robots[robot].send_signal(signal.SIGKILL)
        self.robots[robot].wait()
        return killed_s

    def wait_for(self, *robots: str, within_s: float = 30.0) -> None:
        """Wait until robots are at work."""
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            if set(robots) <= self.at_work():
                return
            time.sleep(0.05)
        raise RuntimeError(f"of {robots} came to work: {sorted(self.at_work())}")


@contextmanager
def our_fleet(
    folder: Path, kind: BusKind, model: str, robots: tuple[str, ...]
) -> Iterator[OurFleet]:
    """Run a fleet in processes of its own, until the block ends."""
    folder.mkdir()
    command = [sys.executable, "-m", "benchmarks.robot_os_ours", "fleet", str(folder), kind, model]
    process = subprocess.Popen(
        [*command, ",".join(robots)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    fleet: OurFleet | None = None
    try:
        fleet = OurFleet(folder, **json.loads(process.stdout.readline()))
        if kind == "zenoh":
            for robot in robots:
                fleet.start_robot(robot)
        fleet.wait_for(*robots)
        yield fleet
    finally:
        for robot in fleet.robots.values() if fleet else ():
            robot.kill()
            robot.wait()
        process.communicate("", timeout=30.0)


def main() -> None:
    role, *rest = sys.argv[1:]
    if role == "robot":
        run_robot(rest[0], Path(rest[1]), rest[2])
    else:
        folder, kind, model, robots = rest
        assert kind in ("local", "zenoh")
        run_fleet(Path(folder), kind, model, tuple(robots.split(",")))


if __name__ == "__main__":
    main()
