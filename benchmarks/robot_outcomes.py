"""Skills that fail, lie, hang, crash or are cancelled at random moments: is success ever invented?

Real coordinators, journals and agents with their threads on a bus carry boxes through a toy world
whose truth is known. Every task has a mood that decides how its attempts misbehave, and when; some
are cancelled at a random moment, and every now and then the coordinator is closed and another one
begun on the same journal, with an empty memory. The toy world judges, not what anybody reported.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.journal.fold import TaskState
from loopwright.robot.journal.journal import Journal
from loopwright.robot.knowledge import NoPlan, Problem
from loopwright.robot.logic import Fact, Facts, Symbols, Truth, conditions
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import Entity, Hands, Motion, Place, SkillSet, skill
from loopwright.robot.task import Step, TaskGraph

SEED = 20261122
ROBOTS = tuple(f"r{n}" for n in range(1, 9))
TASKS_OF_A_FLEET = 50
AT_ONCE = 12
ROUTE = ("home", "hall", "shelf")
LONGEST_S = 0.4
RULES = Rules(attempts=2, plans=3, patience_s=0.4, grace_s=0.3)
LOST_S = 30.0
"""A task that has not ended after so long is lost."""
MOODS = {
    "honest": "does what it says",
    "gives up": "stops half-way and says so",
    "lies": "says done, nothing happened",
    "hangs": "moves for ever until it is told to stop",
    "deaf": "hangs, and hears of no cancel for twice its longest duration",
    "crashes": "raises half-way",
    "crashes after": "raises once the effect is there",
    "denies": "has its effect and says that it gave up",
    "late": "says done, and has its effect a little later",
}
STUBBORN_SHARE = 0.3
"""Tasks whose every attempt is in that mood; in others half of the attempts are honest."""
CANCELLED_SHARE = 0.45
COORDINATOR_LASTS_S = 1.5
"""On average, until it is closed and another one begun."""


@skill(
    requires=("on(?box, ?start)",),
    ensures=("on(?box, ?goal)", "not on(?box, ?start)"),
    resources=("arm", "base"),
    longest_s=LONGEST_S,
)
def carry(hands: Hands, box: Entity, start: Place, goal: Place) -> Motion:
    """Carry a box from one place to another."""
    yield None


SKILLS = SkillSet(carry)


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """An effect that truly happened."""

    intent: str
    box: str
    goal: str


@dataclass
class World:
    """Where every box truly is."""

    place_of: dict[str, str]
    acts: list[Act] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def carry(self, order: RunSkill) -> bool:
        """Move a box, if it is where the order says."""
        box, start, goal = (str(order.values[k]) for k in ("box", "start", "goal"))
        with self.lock:
            if self.place_of[box] != start:
                return False
            self.place_of[box] = goal
            self.acts.append(Act(intent=order.intent, box=box, goal=goal))
            return True

    def seen(self, by: str) -> tuple[Sighting, ...]:
        """Return everything, with the moment at which it was so."""
        with self.lock:
            relations = tuple(f"on({b}, {p})" for b, p in self.place_of.items())
            return (Sighting(entity="world", by=by, time_s=time.time(), relations=relations),)


class LastSight:
    """Believes the newest sighting of the whole world."""

    def __init__(self) -> None:
        self._true: frozenset[Fact] = frozenset()
        self._seen_s = 0.0

    def take(self, sightings: Iterable[Sighting]) -> None:
        for sighting in sightings:
            if sighting.time_s >= self._seen_s:
                self._true = frozenset(c.fact for c in sighting.conditions())
                self._seen_s = sighting.time_s

    def facts(self, *, since_s: float | None = None) -> Facts:
        def truth(fact: Fact) -> Truth:
            if self._seen_s == 0.0 or (since_s is not None and self._seen_s < since_s):
                return None
            return fact in self._true

        return truth

    def symbols(self) -> Symbols:
        return Symbols(self._true)


class Carrier:
    """Plans the rest of the route of a box: its name is the instruction."""

    name = "carrier"

    def plan(self, problem: Problem) -> TaskGraph:
        box, true = problem.instruction, problem.memory.symbols()
        places = [n for n, place in enumerate(ROUTE) if true(Fact("on", (box, place)))]
        if not true.true:
            # A coordinator that has just begun has seen nothing; the whole way is the best guess.
            places = [0]
        if len(places) != 1:
            raise NoPlan(f"nobody knows where {box} is")
        legs = list(pairwise(ROUTE))[places[0] :]
        steps = tuple(
            Step(
                id=f"leg-{start}",
                skill="carry",
                values={"box": box, "start": start, "goal": goal},
                after=(f"leg-{legs[n - 1][0]}",) if n else (),
            )
            for n, (start, goal) in enumerate(legs)
        )
        return TaskGraph(steps=steps, goal=conditions(f"on({box}, {ROUTE[-1]})"))


@dataclass(frozen=True, slots=True)
class Errand:
    """One task, and what goes wrong with it."""

    box: str
    mood: str
    stubborn: bool
    cancel_after_s: float | None


@dataclass
class Runner:
    """Carries boxes of the toy world, in the mood of the errand."""

    robot: str
    world: World
    errands: dict[str, Errand]
    moving: dict[str, str] = field(default_factory=dict)
    """Boxes by attempts that run right now."""
    rested_s: dict[str, float] = field(default_factory=dict)
    began_s: dict[str, float] = field(default_factory=dict)
    latched: bool = False

    def run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        self.began_s[order.intent] = time.monotonic()
        self.moving[order.intent] = str(order.values["box"])
        try:
            return self._run(order, cancelled)
        finally:
            self.moving.pop(order.intent)
            self.rested_s[order.intent] = time.monotonic()

    def _run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        errand = self.errands[str(order.values["box"])]
        dice = random.Random(f"{SEED} {order.intent}")
        mood = errand.mood if errand.stubborn or dice.random() < 0.5 else "honest"
        lasts_s = dice.uniform(0.002, 0.2)
        if mood == "deaf":
            time.sleep(2 * LONGEST_S)
            return "cancelled", "stopped in the end"
        if cancelled.wait(60.0 if mood == "hangs" else lasts_s):
            return "cancelled", "asked to stop"
        if mood == "crashes":
            raise RuntimeError("motor fault E101")
        if mood == "gives up":
            return "gave-up", "cannot reach it"
        if mood == "late":
            threading.Timer(dice.uniform(0.0, 0.3), self.world.carry, (order,)).start()
        elif mood != "lies" and not self.world.carry(order):
            return "gave-up", "the box is not there"
        if mood == "crashes after":
            raise RuntimeError("motor fault E102")
        return ("gave-up", "not sure of it") if mood == "denies" else ("finished", "")

    def look(self) -> tuple[Sighting, ...]:
        return self.world.seen(self.robot)

    def held(self) -> str | None:
        return "stopped" if self.latched else None

    def stop(self, reason: str) -> None:
        self.latched = True

    def release(self, by: str, signature: str) -> None:
        self.latched = False


@dataclass
class Tally:
    """What was counted over all fleets."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    rest_ms: list[float] = field(default_factory=list)
    """From the call of cancel until the robot that ran an attempt was at rest."""
    end_ms: list[float] = field(default_factory=list)
    """From the call of cancel until the task had ended."""
    examples: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wrong(self, what: str, about: object) -> None:
        """Count something that must not happen, and keep the first few."""
        with self.lock:
            self.counts[what] += 1
            if len(self.examples) < 8:
                self.examples.append(f"{what}: {about}")


class Fleet:
    """Eight robots and a coordinator that is replaced now and then."""

    def __init__(self, folder: Path, errands: list[Errand], tally: Tally) -> None:
        self.folder, self.tally = folder, tally
        self.errands = {e.box: e for e in errands}
        self.world = World({e.box: ROUTE[0] for e in errands})
        self.bus = LocalBus()
        self.swap = threading.Lock()
        self.runners = [Runner(name, self.world, self.errands) for name in ROBOTS]
        self.logs = [IntentLog(folder / f"{name}.log") for name in ROBOTS]
        self.agents = [
            Agent(
                robot=runner.robot,
                parts=frozenset({"arm", "base"}),
                skills=SKILLS,
                runner=runner,
                log=log,
                bus=self.bus,
            )
            for runner, log in zip(self.runners, self.logs, strict=True)
        ]
        self._begin()
        for agent in self.agents:
            agent.start()
        while self.coordinator.look_at(lambda s: len(s.robots)) != len(ROBOTS):
            time.sleep(0.01)

    def _begin(self) -> None:
        self.journal = Journal(self.folder / "journal.db")
        self.coordinator = Coordinator(
            journal=self.journal, memory=LastSight(), brain=Carrier(), bus=self.bus, rules=RULES
        )
        self.coordinator.start()

    def replace_coordinator(self) -> None:
        """Close the coordinator and begin another one on the same journal."""
        with self.swap:
            self.coordinator.close()
            self.journal.close()
            self._begin()

    def close(self) -> None:
        for agent in self.agents:
            agent.close()
        self.coordinator.close()
        self.bus.close()
        self.journal.close()
        for log in self.logs:
            log.close()

    def run(self, errand: Errand) -> None:
        """Ask for one task, disturb it, wait for its end and judge it."""
        with self.swap:
            task = self.coordinator.ask(errand.box, by="benchmark")
        asked_s, cancelled_s = time.monotonic(), None
        while True:
            waited_s = time.monotonic() - asked_s
            if errand.cancel_after_s is None or cancelled_s is not None:
                slice_s = 0.1  # then it may be another coordinator that knows
            else:
                slice_s = min(0.1, max(0.0, errand.cancel_after_s - waited_s))
            state = self.coordinator.wait(task, timeout_s=slice_s)
            if state.status == "ended" or waited_s > LOST_S:
                break
            due = errand.cancel_after_s
            if due is not None and cancelled_s is None and time.monotonic() - asked_s >= due:
                with self.swap:
                    cancelled_s = time.monotonic()
                    self.coordinator.cancel(task, by="benchmark")
        ended_s = time.monotonic()
        self._judge(errand, state)
        if cancelled_s is not None and state.cancelled:
            self._time(errand, state, cancelled_s, ended_s)

    def _judge(self, errand: Errand, task: TaskState) -> None:
        tally, box = self.tally, errand.box
        moving = [r.robot for r in self.runners if box in tuple(r.moving.values())]
        with self.world.lock:
            is_there = self.world.place_of[box] == ROUTE[-1]
            done = {(a.box, a.goal) for a in self.world.acts}
        if task.status != "ended":
            tally.wrong("tasks lost", (errand, task.status, self.coordinator.failure))
            return
        if task.outcome == "succeeded" and not is_there:
            tally.wrong("tasks called succeeded whose goal was not true", (errand, task.reason))
        if task.outcome != "succeeded" and not task.reason:
            tally.wrong("tasks ended without success and without a reason", errand)
        if moving:
            tally.wrong("tasks ended while a robot still moved for them", (errand, moving))
        for intent in task.intents:
            tally.counts["attempts"] += 1
            if intent.outcome == "succeeded" and (box, intent.values["goal"]) not in done:
                tally.wrong("attempts called succeeded whose effect was not there", errand)
            if intent.outcome == "succeeded" and intent.claim not in ("finished", ""):
                tally.wrong("attempts called succeeded that the robot itself denied", errand)
            if intent.is_open:
                tally.wrong("attempts still open when their task had ended", errand)
        with tally.lock:
            end = "cancelled" if task.cancelled else str(task.outcome)
            tally.ends[errand.mood, end] += 1
            tally.counts["goal true, not called succeeded"] += (
                is_there and task.outcome != "succeeded"
            )
            tally.counts["tried again or planned anew, then succeeded"] += (
                task.outcome == "succeeded" and len(task.intents) >= len(ROUTE)
            )

    def _time(self, errand: Errand, task: TaskState, at_s: float, ended_s: float) -> None:
        if errand.mood == "deaf":
            return  # how long it does not hear is the benchmark's own choice
        with self.tally.lock:
            self.tally.end_ms.append(1000 * (ended_s - at_s))
            for runner in self.runners:
                for intent in task.intents:
                    rested_s = runner.rested_s.get(intent.id, 0.0)
                    if rested_s > at_s > runner.began_s.get(intent.id, at_s):
                        self.tally.rest_ms.append(1000 * (rested_s - at_s))

    def count_twice(self) -> None:
        """Count attempts with two effects, and legs that were walked twice."""
        by_intent = Counter(a.intent for a in self.world.acts)
        by_leg = Counter((a.box, a.goal) for a in self.world.acts)
        for intent, times in (by_intent - Counter(by_intent.keys())).items():
            self.tally.wrong("attempts that took effect twice", (intent, times))
        for leg, times in (by_leg - Counter(by_leg.keys())).items():
            self.tally.wrong("effects brought about twice", (leg, times))


def errands_of(dice: random.Random, count: int) -> list[Errand]:
    """Draw what goes wrong: every mood alike often, cancels at random moments."""
    moods = [list(MOODS)[n % len(MOODS)] for n in range(count)]
    dice.shuffle(moods)
    return [
        Errand(
            box=f"box-{n}",
            mood=mood,
            stubborn=dice.random() < STUBBORN_SHARE,
            cancel_after_s=dice.uniform(0.0, 0.8) if dice.random() < CANCELLED_SHARE else None,
        )
        for n, mood in enumerate(moods)
    ]


def run_fleet(folder: Path, errands: list[Errand], dice: random.Random, tally: Tally) -> None:
    """Carry out all errands, and replace the coordinator at random moments meanwhile."""
    over = threading.Event()
    waits_s = [dice.expovariate(1 / COORDINATOR_LASTS_S) for _ in range(100)]
    with closing(Fleet(folder, errands, tally)) as fleet:

        def disturb() -> None:
            for wait_s in waits_s:
                if over.wait(wait_s):
                    return
                fleet.replace_coordinator()
                tally.counts["coordinators replaced"] += 1

        thread = threading.Thread(target=disturb, daemon=True)
        thread.start()
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(fleet.run, errands))
        finally:
            over.set()
            thread.join()
        time.sleep(0.4)  # until the last late effect is there
        fleet.count_twice()


def report(bench: Benchmark, tally: Tally, count: int) -> None:
    """Add what was counted."""
    attempts = tally.counts["attempts"]
    for metric, n in (
        ("tasks called succeeded whose goal was not true", count),
        ("attempts called succeeded whose effect was not there", attempts),
        ("attempts called succeeded that the robot itself denied", attempts),
        ("tasks lost", count),
        ("tasks ended without success and without a reason", count),
        ("tasks ended while a robot still moved for them", count),
        ("attempts still open when their task had ended", attempts),
        ("attempts that took effect twice", attempts),
        ("effects brought about twice", attempts),
    ):
        value = tally.counts[metric]
        bench.add(Measurement(metric=metric, value=value, unit="count", n=n, target="<= 0"))
    for metric, found in (
        ("cancel until the robot is at rest", tally.rest_ms),
        ("cancel until the task has ended", tally.end_ms),
    ):
        for name, level in (("p50", 50), ("p99", 99)):
            if found:
                value = float(np.percentile(found, level))
                bench.add(
                    Measurement(metric=f"{metric}, {name}", value=value, unit="ms", n=len(found))
                )
    for name in ("goal true, not called succeeded", "tried again or planned anew, then succeeded"):
        bench.add(Measurement(metric=name, value=tally.counts[name], unit="tasks", n=count))
    for mood, meaning in MOODS.items():
        ends = {e: n for (m, e), n in sorted(tally.ends.items()) if m == mood}
        bench.details.append({"mood": mood, "meaning": meaning, "ends": ends})
        bench.note(f"{mood} ({meaning}): " + ", ".join(f"{n} {e}" for e, n in ends.items()))
    bench.note(f"{tally.counts['coordinators replaced']} coordinators were replaced meanwhile.")
    for example in tally.examples:
        bench.note(f"Example: {example}")


def main() -> None:
    with Benchmark(
        "robot_outcomes", "Robots that misbehave at random moments", seeds=(SEED,)
    ) as bench:
        count = 100 if bench.quick else 2000
        dice, tally = random.Random(SEED), Tally()
        with tempfile.TemporaryDirectory(prefix="robot-outcomes-") as folder:
            for fleet in bench.track(range(count // TASKS_OF_A_FLEET), "fleets"):
                place = Path(folder) / f"fleet-{fleet}"
                place.mkdir()
                run_fleet(place, errands_of(dice, TASKS_OF_A_FLEET), dice, tally)
        report(bench, tally, count)


if __name__ == "__main__":
    main()
