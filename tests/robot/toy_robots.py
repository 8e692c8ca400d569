"""A world of facts and robots that act on it, well or badly: what the coordinator is tested on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from loopwright.robot.knowledge import NoPlan, Problem
from loopwright.robot.logic import Condition, Fact, Facts, Symbols, Truth, conditions
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import GaveUp, Hands, Motion, Place, Skill, SkillSet, skill
from loopwright.robot.task import Step, TaskGraph


@skill(
    requires=("at(?robot, ?start)",),
    ensures=("at(?robot, ?goal)", "not at(?robot, ?start)"),
    resources=("base",),
)
def go(hands: Hands, start: Place, goal: Place) -> Motion:
    """Drive from one place to another."""
    yield None


@skill(ensures=("rung(?bell)",), resources=("arm",), longest_s=2.0)
def ring(hands: Hands, bell: Place) -> Motion:
    """Ring a bell."""
    yield None


SKILLS = SkillSet(go, ring)


@dataclass
class ToyWorld:
    """What is true; changes only when a robot truly acts."""

    true: set[Fact] = field(default_factory=set)
    acts: list[tuple[str, str]] = field(default_factory=list)
    """Intent and skill of everything that had an effect."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, intent: str, name: str, effects: Iterable[Condition]) -> None:
        with self.lock:
            self.acts.append((intent, name))
            for effect in effects:
                (self.true.add if effect.holds else self.true.discard)(effect.fact)

    def sightings(self, by: str) -> tuple[Sighting, ...]:
        with self.lock:
            seen = tuple(str(f) for f in sorted(self.true))
        return (Sighting(entity="world", by=by, time_s=time.time(), relations=seen),)


class ToyMemory:
    """Believes the last sighting of the whole world."""

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


@dataclass
class ToyRunner:
    """Acts on the toy world after a while; ``mood`` says how it misbehaves."""

    robot: str
    world: ToyWorld
    lasts_s: float = 0.0
    mood: str = "honest"
    latched: bool = False
    orders: list[str] = field(default_factory=list)

    def run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        self.orders.append(order.intent)
        end_s = time.monotonic() + (60.0 if self.mood == "hangs" else self.lasts_s)
        while time.monotonic() < end_s:
            if cancelled.wait(max(0.0, min(0.01, end_s - time.monotonic()))):
                return "cancelled", "asked to stop"
        if self.mood == "crashes":
            raise RuntimeError("motor fault E101")
        if self.mood == "gives-up":
            return "gave-up", "cannot reach it"
        if self.mood != "lies":
            bound = SKILLS[order.skill].contract.bound(self.robot, order.values)
            gone = (
                conditions(f"not at({self.robot}, {order.values['start']})")
                if order.skill == "go"
                else ()
            )
            self.world.apply(order.intent, order.skill, (*gone, *bound.ensures))
        return "finished", ""

    def look(self) -> tuple[Sighting, ...]:
        return self.world.sightings(self.robot)

    def held(self) -> str | None:
        return "stopped" if self.latched else None

    def stop(self, reason: str) -> None:
        self.latched = True

    def release(self, by: str, signature: str) -> None:
        self.latched = False


class ToyBrain:
    """Rings what the instruction names: ``"ring a b"``; leaves out what has rung."""

    name = "toy"

    def plan(self, problem: Problem) -> TaskGraph:
        bells = problem.instruction.split()[1:]
        if not bells or not problem.robots:
            raise NoPlan("say which bells, and have a robot at work")
        true = problem.memory.symbols()
        goal = conditions(*(f"rung({b})" for b in bells))
        left = [b for b in bells if not true(Fact("rung", (b,)))]
        steps = tuple(
            Step(id=f"s{n}", skill="ring", values={"bell": b}, after=(f"s{n - 1}",) if n else ())
            for n, b in enumerate(left)
        )
        return TaskGraph(steps=steps, goal=goal, reading=f"ring {', '.join(bells)}")


__all__ = ["SKILLS", "GaveUp", "Skill", "ToyBrain", "ToyMemory", "ToyRunner", "ToyWorld"]
