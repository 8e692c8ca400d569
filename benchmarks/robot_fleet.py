"""A hundred robots whose skills do nothing: how many tasks a second, how late, and what limits it.

Coordinator, journal and memory are real and on disk, the agents with their logs too; only the
bodies are missing. Tasks come at random moments at a rate that is raised until they are late, each
with a graph of one step for one robot, so that no planner takes part. Once all robots are in the
coordinator's process on the local bus, once in processes of their own over Zenoh.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import Bus, LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.journal import Entry, Journal
from loopwright.robot.knowledge import NoPlan, Problem
from loopwright.robot.logic import conditions
from loopwright.robot.memory.memory import Memory
from loopwright.robot.memory.things import Thing, Things
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import Hands, Motion, SkillSet, skill
from loopwright.robot.task import Step, TaskGraph
from loopwright.robot.wires.membership import Membership, enrol
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings

SEED = 20261122
ROBOTS = 100
PROCESSES = 4
RATES = (5, 10, 20, 40, 80, 160, 320)
"""Tasks a second that are offered, one after the other, until it is too many."""
SECONDS_A_RATE = 8.0
LATE_S = 1.0
"""Beyond this p99 a rate is too high."""
SAMPLE_S = 0.004


@skill(ensures=("free-hand(?robot)",), resources=("arm",), longest_s=20.0)
def nod(hands: Hands) -> Motion:
    """Do nothing."""
    yield None


SKILLS = SkillSet(nod)


def names(count: int) -> list[str]:
    return [f"r{n}" for n in range(count)]


class Nobody:
    """A robot without a body."""

    def __init__(self, robot: str) -> None:
        self._robot = robot

    def run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        return "finished", ""

    def look(self) -> tuple[Sighting, ...]:
        felt = (f"free-hand({self._robot})",)
        return (Sighting(entity=self._robot, by=self._robot, time_s=time.time(), relations=felt),)

    def held(self) -> str | None:
        return None

    def stop(self, reason: str) -> None:
        """It moves nothing."""

    def release(self, by: str, signature: str) -> None:
        """It moves nothing."""


class NoBrain:
    """Every graph is given."""

    name = "none"

    def plan(self, problem: Problem) -> TaskGraph:
        raise NoPlan("every graph is given here")


def agents_of(robots: list[str], folder: Path, bus: Bus) -> list[Agent]:
    """Start the agents of some robots on one bus."""
    found = [
        Agent(
            robot=robot,
            parts=frozenset({"arm"}),
            skills=SKILLS,
            runner=Nobody(robot),
            log=IntentLog(folder / f"{robot}.log"),
            bus=bus,
        )
        for robot in robots
    ]
    for agent in found:
        agent.start()
    return found


@dataclass
class Rate:
    """What came of one offered rate."""

    offered: float
    done: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    unfinished: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    cpu_share: float = 0.0

    def late(self, percent: float) -> float:
        return float(np.percentile(self.latencies_s, percent)) if self.latencies_s else np.inf


class Desk:
    """Asks for tasks, and notes when each is over."""

    def __init__(self, folder: Path, bus: Bus, robots: list[str]) -> None:
        self._robots, self._dice = robots, random.Random(SEED)
        self._asked_s: dict[str, float] = {}
        self._over: dict[str, tuple[float, str]] = {}
        self._journal = Journal(folder / "journal.db")
        self._memory = Memory(
            folder / "memory.db",
            Things(
                Thing(name=r, kind="robot", position_m=(0, 0, 0), parts=("arm",)) for r in robots
            ),
        )
        self.coordinator = Coordinator(
            journal=self._journal,
            memory=self._memory,
            brain=NoBrain(),
            bus=bus,
            on_entry=self._noted,
        )
        self.coordinator.start()

    def _noted(self, entry: Entry) -> None:
        if isinstance(entry.event, happened.TaskEnded):
            self._over[entry.event.task] = (time.monotonic(), entry.event.outcome)

    def wait_for_all(self) -> float:
        """Return how long it took until every robot was at work."""
        began_s = time.monotonic()
        while self.coordinator.look_at(lambda s: len(s.robots)) != len(self._robots):
            if time.monotonic() - began_s > 120.0:
                raise RuntimeError("not all robots reported for work")
            time.sleep(0.02)
        return time.monotonic() - began_s

    def ask(self, due_s: float) -> str:
        """Ask for a task; its time counts from when it was due, however busy the desk is."""
        robot = self._dice.choice(self._robots)
        graph = TaskGraph(
            steps=(Step(id="s1", skill="nod", robot=robot),),
            goal=conditions(f"free-hand({robot})"),
        )
        task = self.coordinator.ask("nod", by="benchmark", graph=graph)
        self._asked_s[task] = due_s
        return task

    def offer(self, rate: float, seconds: float) -> Rate:
        """Offer tasks at a rate, and wait for what was taken on."""
        found, tasks = Rate(rate), []
        began_s, cpu_s = time.monotonic(), time.process_time()
        with ThreadPoolExecutor(16) as pool:
            due_s = began_s
            while (due_s := due_s + self._dice.expovariate(rate)) < began_s + seconds:
                time.sleep(max(0.0, due_s - time.monotonic()))
                tasks.append(pool.submit(self.ask, due_s))
        taken = [t.result() for t in tasks]
        until_s = time.monotonic() + 20.0
        while (left := [t for t in taken if t not in self._over]) and time.monotonic() < until_s:
            time.sleep(0.02)
        ends = [self._over[t] for t in taken if t in self._over]
        found.unfinished = len(left)
        found.latencies_s = [self._over[t][0] - self._asked_s[t] for t in taken if t in self._over]
        found.outcomes = Counter(outcome for _, outcome in ends)
        spent_s = max((s for s, _ in ends), default=time.monotonic()) - began_s
        found.done = len(ends) / max(spent_s, seconds)
        found.cpu_share = (time.process_time() - cpu_s) / spent_s
        return found

    def close(self) -> None:
        self.coordinator.close()
        self._journal.close()
        self._memory.close()


# What the coordinator's thread does --------------------------------------------------------------

PLACES = {
    "append": "journal: written and synced",
    "next_moves": "deciding what to do next",
    "moves": "deciding what to do next",
    "take": "memory: written and believed",
    "publish": "telling robots",
    "_settle": "judging attempts",
    "_advance": "deciding what to do next",
    "_pulsed": "hearing pulses",
    "_take": "hearing anything else",
    "consider": "looking ahead",
    "get": "waiting for something to do",
}
"""Functions to what they are for; the innermost one counts."""


@contextmanager
def watched() -> Iterator[Counter[str]]:
    """Sample what the coordinator's thread does."""
    counts: Counter[str] = Counter()
    over = threading.Event()

    def sample() -> None:
        thread = next(t for t in threading.enumerate() if t.name == "coordinator")
        while not over.wait(SAMPLE_S):
            frame = sys._current_frames().get(thread.ident or 0)
            while frame is not None and frame.f_code.co_name not in PLACES:
                frame = frame.f_back
            if frame is None:
                counts["waiting for something to do"] += 1
            else:
                counts[PLACES[frame.f_code.co_name]] += 1

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield counts
    finally:
        over.set()
        sampler.join()


def resident_mib(pid: int | str = "self") -> float:
    """Return the memory of a process that is in use."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


# The two fleets ----------------------------------------------------------------------------------


@dataclass
class Found:
    """What was measured of one fleet."""

    title: str
    rates: list[Rate] = field(default_factory=list)
    doing: Counter[str] = field(default_factory=Counter)
    rest: Counter[str] = field(default_factory=Counter)
    join_s: float = 0.0
    memory_mib: float = 0.0
    a_robot_mib: float = 0.0
    threads: int = 0
    idle_cpu: float = 0.0

    @property
    def best(self) -> Rate:
        """The highest rate that was served in time."""
        good = [r for r in self.rates if r.late(99) <= LATE_S and not r.unfinished]
        return good[-1] if good else self.rates[0]


def measure(found: Found, desk: Desk, seconds: float, rates: tuple[int, ...], say: Any) -> None:
    """Raise the rate until tasks are late."""
    cpu_s, began_s = time.process_time(), time.monotonic()
    with watched() as found.rest:
        time.sleep(3.0)
    found.idle_cpu = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    for rate in rates:
        with watched() as doing:
            result = desk.offer(rate, seconds)
        found.rates.append(result)
        found.doing = doing
        say(
            f"{found.title}: {rate} offered, {result.done:.1f} done a second, "
            f"p50 {1000 * result.late(50):.0f} ms, p99 {1000 * result.late(99):.0f} ms"
        )
        if result.late(99) > LATE_S or result.done < 0.8 * rate or result.unfinished:
            return


def one_process(folder: Path, robots: list[str], run: Callable[[Found, Desk], None]) -> Found:
    """All in this process, on the local bus."""
    found = Found("one process, local bus")
    with closing(LocalBus()) as bus, closing(Desk(folder, bus, robots)) as desk:
        before_mib = resident_mib()
        agents = agents_of(robots, folder, bus)
        found.join_s = desk.wait_for_all()
        found.a_robot_mib = (resident_mib() - before_mib) / len(robots)
        found.threads = threading.active_count()
        try:
            run(found, desk)
        finally:
            for agent in agents:
                agent._leaving.set()
            for agent in agents:
                agent.close()
        found.memory_mib = resident_mib()
    return found


def many_processes(folder: Path, robots: list[str], run: Callable[[Found, Desk], None]) -> Found:
    """Robots in a few processes, over Zenoh."""
    found = Found(f"{PROCESSES} processes and the coordinator's, Zenoh")
    enrol(folder, "coordinator", "coordinator")
    enrol(folder, "robot", *robots)
    with ExitStack() as stack:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            endpoint = f"tcp/127.0.0.1:{taken.getsockname()[1]}"
        settings = ZenohSettings(name="coordinator", listen=endpoint)
        bus = ZenohBus(settings, Membership.read(folder, "coordinator"))
        stack.callback(bus.close)
        desk = stack.enter_context(closing(Desk(folder, bus, robots)))
        children = []
        for number in range(PROCESSES):
            share = robots[number::PROCESSES]
            children.append(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.robot_fleet", "--robots", str(folder),
                     endpoint, json.dumps(share)],
                    stdin=subprocess.PIPE,
                )
            )  # fmt: skip
            stack.callback(children[-1].wait)
            stack.callback(children[-1].kill)
        found.join_s = desk.wait_for_all()
        of_robots_mib = sum(resident_mib(c.pid) for c in children)
        found.a_robot_mib = of_robots_mib / len(robots)
        found.threads = threading.active_count()
        run(found, desk)
        found.memory_mib = resident_mib() + sum(resident_mib(c.pid) for c in children)
    return found


def serve_robots(folder: Path, endpoint: str, robots: list[str]) -> None:
    """Be the process of some robots."""
    name = f"robots-{robots[0]}"
    settings = ZenohSettings(name=name, connect=(endpoint,))
    bus = ZenohBus(settings, Membership.read(folder, *robots))
    agents_of(robots, folder, bus)
    while os.read(0, 1):
        pass
    os._exit(0)


def report(bench: Benchmark, found: Found, robots: int) -> None:
    """Add what was measured of one fleet."""
    best = found.best
    n = len(best.latencies_s)

    def add(metric: str, value: float, unit: str, count: int | None = 1, target: str = "") -> None:
        metric = f"{found.title}: {metric}"
        bench.add(Measurement(metric=metric, value=value, unit=unit, n=count, target=target))

    add("most tasks a second in time", best.done, "tasks/s", n)
    add("publish to result at that rate, p50", 1000 * best.late(50), "ms", n)
    add("publish to result at that rate, p99", 1000 * best.late(99), "ms", n)
    slowest = found.rates[0]
    add(f"publish to result at {slowest.offered:g} a second, p50", 1000 * slowest.late(50), "ms",
        len(slowest.latencies_s))  # fmt: skip
    add(f"publish to result at {slowest.offered:g} a second, p99", 1000 * slowest.late(99), "ms",
        len(slowest.latencies_s))  # fmt: skip
    add("most tasks done a second at any rate", max(r.done for r in found.rates), "tasks/s")
    add("tasks that did not succeed",
        sum(r.unfinished + len(r.latencies_s) - r.outcomes["succeeded"] for r in found.rates),
        "tasks", sum(len(r.latencies_s) + r.unfinished for r in found.rates), "<= 0")  # fmt: skip
    add("until all robots are at work", found.join_s, "s", robots)
    add("memory in the end", found.memory_mib, "MiB RSS")
    add("memory a robot", found.a_robot_mib, "MiB RSS", robots)
    add("threads of the coordinator's process", found.threads, "threads")
    add("cores in use while nothing is asked, coordinator's process", found.idle_cpu, "cores")
    for what, counts in (("at the last rate", found.doing), ("at rest", found.rest)):
        shares = ", ".join(
            f"{100 * c / counts.total():.0f} % {k}" for k, c in counts.most_common(6)
        )
        bench.note(f"{found.title}: the coordinator's thread {what}: {shares}")
    for rate in found.rates:
        bench.details.append(
            {
                "fleet": found.title,
                "offered": rate.offered,
                "done": round(rate.done, 2),
                "p50_ms": round(1000 * rate.late(50), 1),
                "p99_ms": round(1000 * rate.late(99), 1),
                "unfinished": rate.unfinished,
                "cores": round(rate.cpu_share, 2),
                "outcomes": dict(rate.outcomes),
            }
        )


def main() -> None:
    if sys.argv[1:2] == ["--robots"]:
        serve_robots(Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
        return
    with Benchmark("robot_fleet", "A hundred robots that do nothing", seeds=(SEED,)) as bench:
        robots = names(20 if bench.quick else ROBOTS)
        seconds, rates = (3.0, RATES[:3]) if bench.quick else (SECONDS_A_RATE, RATES)
        for fleet in (one_process, many_processes):
            with tempfile.TemporaryDirectory(prefix="robot-fleet-") as folder:

                def run(found: Found, desk: Desk) -> None:
                    measure(found, desk, seconds, rates, bench.say)

                report(bench, fleet(Path(folder), robots, run), len(robots))


if __name__ == "__main__":
    main()
