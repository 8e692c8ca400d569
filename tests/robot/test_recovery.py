"""A skill that failed, and the skills that its author says may help."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_coordinator import Fleet
from toy_robots import ToyBrain, ToyRunner, ToyWorld

from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.journal.account import account_of
from loopwright.robot.knowledge import Problem
from loopwright.robot.logic import conditions
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.skill import Hands, Motion, Place, SkillSet, skill
from loopwright.robot.task import Step, TaskGraph


@skill(ensures=("loose(?drawer)",), resources=("arm",))
def knock(hands: Hands, drawer: Place) -> Motion:
    """Knock against a drawer."""
    yield None


@skill(ensures=("loose(?drawer)",), resources=("arm",))
def shake(hands: Hands, drawer: Place) -> Motion:
    """Shake a drawer."""
    yield None


@skill(ensures=("open(?drawer)",), resources=("arm",), recovery=("knock", "weld", "shake"))
def pull(hands: Hands, drawer: Place, strength: float) -> Motion:
    """Pull a drawer open."""
    yield None


SKILLS = SkillSet(knock, shake, pull)


@dataclass
class DrawerRunner(ToyRunner):
    """Pulls in vain until the drawer is loose."""

    helps: str = "shake"
    tried: list[str] = field(default_factory=list)

    def run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        self.tried.append(order.skill)
        drawer = order.values["drawer"]
        (loose,) = conditions(f"loose({drawer})")
        if order.skill == self.helps:
            self.world.apply(order.intent, order.skill, (loose,))
        elif order.skill == "pull" and loose.fact in self.world.true:
            self.world.apply(order.intent, order.skill, conditions(f"open({drawer})"))
        elif order.skill == "pull":
            return "gave-up", "it is stuck"
        return "finished", ""


class DrawerBrain(ToyBrain):
    """Pulls, whatever it is asked."""

    def plan(self, problem: Problem) -> TaskGraph:
        step = Step(id="s", skill="pull", values={"drawer": "top", "strength": 2.0})
        return TaskGraph(steps=(step,), goal=conditions("open(top)"))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, brain=DrawerBrain())
    fleet.begin()
    yield fleet
    fleet.close()


def robot(fleet: Fleet, helps: str) -> DrawerRunner:
    runner = DrawerRunner("r1", ToyWorld(), helps=helps)
    agent = fleet.agents["r1"] = Agent(
        robot="r1",
        parts=frozenset({"arm"}),
        skills=SKILLS,
        runner=runner,
        log=IntentLog(fleet.folder / "r1.db"),
        bus=fleet.bus,
    )
    agent.start()
    fleet.wait_for("r1")
    return runner


def test_what_may_help_is_tried_in_order_until_it_does(fleet: Fleet) -> None:
    runner = robot(fleet, helps="shake")
    task = fleet.do("open the top drawer")
    assert task.outcome == "succeeded"
    assert runner.tried == ["pull", "knock", "shake", "pull"]
    assert task.plans == 1
    assert fleet.coordinator
    account = account_of(fleet.coordinator._journal.beside(task.id), task.id)
    told = [detail for line in account.lines for detail in line.details]
    assert "why r1: its attempt failed, and its skill says that this may help" in told


def test_what_does_not_help_is_not_tried_for_ever(fleet: Fleet) -> None:
    runner = robot(fleet, helps="nothing")
    task = fleet.do("open the top drawer")
    assert task.outcome == "failed"
    assert "it is stuck" in task.reason
    # Twice an attempt with what may help after each, for each of three plans.
    assert runner.tried == ["pull", "knock", "shake"] * 6


def test_who_is_stopped_does_not_recover(fleet: Fleet) -> None:
    runner = robot(fleet, helps="shake")
    assert fleet.coordinator
    task = fleet.coordinator.ask("open the top drawer", by="ann")
    until_s = time.monotonic() + 10.0
    while "pull" not in runner.tried and time.monotonic() < until_s:
        time.sleep(0.001)
    fleet.coordinator.stop(None, by="ann")
    tried = len(runner.tried)
    fleet.coordinator.wait(task, timeout_s=0.5)
    assert len(runner.tried) - tried <= 1, "at most what had begun"
