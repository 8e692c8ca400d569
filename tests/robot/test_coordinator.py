"""Tasks through graphs with real journals, agents and threads on a bus, in a toy world."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from toy_robots import SKILLS, ToyBrain, ToyMemory, ToyRunner, ToyWorld

from loopwright.core.errors import UnknownName
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.coordinator.expected import ExpectedMemory
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.journal.fold import TaskState, fold
from loopwright.robot.journal.journal import Journal
from loopwright.robot.knowledge import NotSeen, Problem, WorldMemory
from loopwright.robot.logic import Fact, conditions
from loopwright.robot.messages import DEADMAN_S
from loopwright.robot.sighting import Sighting
from loopwright.robot.task import TaskGraph

RULES = Rules(patience_s=0.3, grace_s=0.5)


@dataclass
class Fleet:
    """A coordinator with its robots, in one process."""

    folder: Path
    world: ToyWorld = field(default_factory=ToyWorld)
    bus: LocalBus = field(default_factory=LocalBus)
    runners: dict[str, ToyRunner] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    coordinator: Coordinator | None = None
    brain: ToyBrain = field(default_factory=ToyBrain)
    memory: WorldMemory = field(default_factory=ToyMemory)

    def begin(self) -> Coordinator:
        self.coordinator = Coordinator(
            journal=Journal(self.folder / "journal.db"),
            memory=self.memory,
            brain=self.brain,
            bus=self.bus,
            rules=RULES,
        )
        self.coordinator.start()
        return self.coordinator

    def add(self, robot: str, **runner: object) -> Agent:
        self.runners[robot] = ToyRunner(robot, self.world, **runner)  # type: ignore[arg-type]
        agent = self.agents[robot] = Agent(
            robot=robot,
            parts=frozenset({"arm", "base"}),
            skills=SKILLS,
            runner=self.runners[robot],
            log=IntentLog(self.folder / f"{robot}.log"),
            bus=self.bus,
        )
        agent.start()
        return agent

    def wait_for(self, *robots: str) -> None:
        assert self.coordinator is not None
        until_s = time.monotonic() + 10.0
        while time.monotonic() < until_s:
            alive = self.coordinator.look_at(
                lambda s: {r.name for r in s.robots.values() if r.alive}
            )
            if alive == set(robots):
                return
            time.sleep(0.01)
        raise AssertionError(f"{robots} are not all at work")

    def do(self, instruction: str, timeout_s: float = 15.0) -> TaskState:
        assert self.coordinator is not None
        task = self.coordinator.ask(instruction, by="test")
        return self.coordinator.wait(task, timeout_s=timeout_s)

    def close(self) -> None:
        for agent in self.agents.values():
            agent.close()
        if self.coordinator:
            self.coordinator.close()
        self.bus.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        fleet = Fleet(tmp_path)
        stack.callback(fleet.close)
        fleet.begin()
        yield fleet


def test_a_task_of_several_steps_is_done_and_seen_to_be_done(fleet: Fleet) -> None:
    fleet.add("r1")
    fleet.add("r2")
    fleet.wait_for("r1", "r2")
    task = fleet.do("ring north south")
    assert (task.outcome, task.reason) == ("succeeded", "")
    assert [name for _, name in fleet.world.acts] == ["ring", "ring"]
    assert [i.outcome for i in task.intents] == ["succeeded", "succeeded"]


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("lies", "the world is not as it should be"),
        ("crashes", "motor fault E101"),
        ("gives-up", "cannot reach it"),
        ("hangs", "longer than 2 s"),
    ],
)
def test_a_skill_that_fails_lies_crashes_or_hangs_is_never_a_success(
    fleet: Fleet, mood: str, reason: str
) -> None:
    fleet.add("r1", mood=mood)
    fleet.wait_for("r1")
    task = fleet.do("ring north", timeout_s=30.0)
    assert task.outcome == "failed"
    assert reason in task.reason
    assert not fleet.world.acts
    assert all(i.outcome == "failed" for i in task.intents)


def test_a_lost_robot_is_noticed_and_its_work_done_by_another(fleet: Fleet) -> None:
    fleet.add("r1", lasts_s=60.0)
    fleet.wait_for("r1")
    assert fleet.coordinator
    task = fleet.coordinator.ask("ring north", by="test")
    until_s = time.monotonic() + 5.0
    while not fleet.coordinator.task(task).intents and time.monotonic() < until_s:
        time.sleep(0.01)
    fleet.add("r2")
    fleet.wait_for("r1", "r2")
    fleet.agents["r1"]._bus = LocalBus()  # nobody hears it any more
    ended = fleet.coordinator.wait(task, timeout_s=15.0)
    assert ended.outcome == "succeeded"
    assert [i.robot for i in ended.intents] == ["r1", "r2"]
    assert "lost" in ended.intents[0].reason


def test_a_death_that_somebody_saw_is_not_waited_for(fleet: Fleet) -> None:
    fleet.add("r1", mood="hangs")
    fleet.wait_for("r1")
    assert fleet.coordinator
    task = fleet.coordinator.ask("ring north", by="test")
    _wait(lambda: bool(fleet.runners["r1"].orders))
    fleet.add("r2")
    _wait(lambda: fleet.coordinator.at_work() == {"r1", "r2"})  # type: ignore[union-attr]
    fleet.agents["r1"].close()
    died_s = time.monotonic()
    fleet.coordinator.died("r1", reason="its process died")
    ended = fleet.coordinator.wait(task, timeout_s=10.0)
    assert (ended.outcome, ended.intents[-1].robot) == ("succeeded", "r2")
    assert time.monotonic() - died_s < DEADMAN_S
    assert fleet.coordinator.at_work() == {"r2"}


def test_a_death_of_an_earlier_life_takes_nothing_from_the_present_one(fleet: Fleet) -> None:
    fleet.add("r1")
    fleet.wait_for("r1")
    assert fleet.coordinator
    known = fleet.coordinator.look_at(lambda s: s.robots["r1"].epoch)
    assert isinstance(known, int)
    fleet.coordinator._lose("r1", "an old death", dead_epoch=known - 1)
    assert fleet.coordinator.at_work() == {"r1"}
    fleet.coordinator.died("nobody", reason="never lived")
    assert fleet.do("ring north").outcome == "succeeded"


def test_a_plan_is_made_for_the_world_as_it_will_be(tmp_path: Path) -> None:
    memory = ToyMemory()
    north, south = Fact("at", ("r1", "north")), Fact("at", ("r1", "south"))
    memory.take([Sighting(entity="r1", by="r1", time_s=time.time(), relations=(str(north),))])
    driven = ExpectedMemory(memory, conditions("at(r1, south)", "not at(r1, north)"))
    assert driven.symbols().true == {south}
    assert [driven.facts()(fact) for fact in (north, south)] == [False, True]
    assert memory.symbols().true == {north}, "only the plan is made so"


def test_what_somebody_else_is_bringing_about_is_waited_for(fleet: Fleet) -> None:
    fleet.add("r1", lasts_s=1.0)
    fleet.wait_for("r1")
    assert fleet.coordinator
    first = fleet.coordinator.ask("ring north", by="test")
    _wait(lambda: bool(fleet.runners["r1"].orders))
    second = fleet.coordinator.ask("ring north", by="another")
    ended = [fleet.coordinator.wait(task, timeout_s=15.0) for task in (first, second)]
    assert [(task.outcome, task.reason) for task in ended] == [("succeeded", "")] * 2
    assert ended[1].plans == 1
    assert len(fleet.world.acts) == 1


def test_what_somebody_else_fails_to_bring_about_is_done(fleet: Fleet) -> None:
    fleet.add("r1", lasts_s=1.0, mood="gives-up")
    fleet.wait_for("r1")
    assert fleet.coordinator
    fleet.coordinator.ask("ring north", by="test")
    _wait(lambda: bool(fleet.runners["r1"].orders))
    second = fleet.coordinator.ask("ring north", by="another")
    time.sleep(0.3)
    fleet.runners["r1"].mood = "honest"
    ended = fleet.coordinator.wait(second, timeout_s=15.0)
    assert (ended.outcome, ended.reason) == ("succeeded", "")


def test_cancelling_stops_at_once_and_is_no_success(fleet: Fleet) -> None:
    fleet.add("r1", lasts_s=5.0)
    fleet.wait_for("r1")
    assert fleet.coordinator
    task = fleet.coordinator.ask("ring north", by="test")
    time.sleep(0.2)
    fleet.coordinator.cancel(task, by="test")
    ended = fleet.coordinator.wait(task, timeout_s=3.0)
    assert (ended.status, ended.outcome, ended.cancelled) == ("ended", "failed", True)
    assert not fleet.world.acts


def test_what_is_not_understood_is_refused_with_the_reason(fleet: Fleet) -> None:
    fleet.add("r1")
    fleet.wait_for("r1")
    task = fleet.do("ring")
    assert (task.refused, task.outcome) == (True, "failed")
    assert "say which bells" in task.reason


class ShortSightedBrain(ToyBrain):
    """Cannot plan before it was looked around a few times."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def plan(self, problem: Problem) -> TaskGraph:
        self.looks -= 1
        if self.looks >= 0:
            raise NotSeen("no way; nobody has seen the bells")
        return super().plan(problem)


@pytest.mark.parametrize(("looks", "outcome"), [(1, "succeeded"), (1000, "failed")])
def test_a_plan_waits_until_things_are_seen_and_not_for_ever(
    tmp_path: Path, looks: int, outcome: str
) -> None:
    fleet = Fleet(tmp_path, brain=ShortSightedBrain(looks))
    try:
        fleet.begin()
        fleet.add("r1")
        fleet.wait_for("r1")
        task = fleet.do("ring a")
        assert (task.outcome, task.refused) == (outcome, outcome == "failed")
        assert outcome == "succeeded" or "nobody has seen the bells" in task.reason
    finally:
        fleet.close()


def test_a_new_coordinator_goes_on_where_the_last_one_was_cut_off(fleet: Fleet) -> None:
    fleet.add("r1", lasts_s=0.5)
    fleet.wait_for("r1")
    first = fleet.coordinator
    assert first
    task = first.ask("ring north south", by="test")
    time.sleep(0.2)
    first.close()  # in the middle of the first step
    ended = fleet.begin().wait(task, timeout_s=15.0)
    assert ended.outcome == "succeeded"
    assert [name for _, name in fleet.world.acts] == ["ring", "ring"]
    assert len({intent for intent, _ in fleet.world.acts}) == 2


def test_a_stop_holds_until_it_is_released(fleet: Fleet) -> None:
    fleet.add("r1")
    fleet.wait_for("r1")
    assert fleet.coordinator
    fleet.coordinator.stop(None, by="test")
    task = fleet.coordinator.ask("ring north", by="test")
    assert fleet.coordinator.wait(task, timeout_s=0.5).status == "planning"
    assert fleet.runners["r1"].latched
    assert not fleet.world.acts
    fleet.coordinator.release(None, by="test", signature="")
    assert fleet.coordinator.wait(task, timeout_s=10.0).outcome == "succeeded"


def test_a_stop_and_its_release_reach_a_robot_that_was_away(fleet: Fleet) -> None:
    fleet.add("r1")
    fleet.wait_for("r1")
    assert fleet.coordinator
    fleet.agents["r1"].close()
    fleet.coordinator.stop("r1", by="test")
    fleet.add("r1")  # another life that has heard of nothing
    _wait(lambda: fleet.runners["r1"].latched)
    fleet.agents["r1"].close()
    fleet.coordinator.release("r1", by="test", signature="")
    fleet.add("r1", latched=True)  # its latch is on its disk
    _wait(lambda: not fleet.runners["r1"].latched)
    assert fleet.do("ring a").outcome == "succeeded"


def _wait(until: Callable[[], bool], within_s: float = 10.0) -> None:
    end_s = time.monotonic() + within_s
    while not until():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_the_state_is_a_fold_over_the_journal(fleet: Fleet) -> None:
    fleet.add("r1")
    fleet.wait_for("r1")
    fleet.do("ring north south")
    assert fleet.coordinator
    again = fold(Journal(fleet.folder / "journal.db").entries())
    same = fleet.coordinator.look_at(lambda s: s.tasks == again.tasks and s.epoch == again.epoch)
    assert same


def test_a_plan_for_a_task_that_is_long_past_is_dropped(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.robot.coordinator.coordinator.REMEMBERED", 1)
    assert fleet.coordinator is not None
    fleet.coordinator.close()
    coordinator = fleet.begin()
    fleet.add("r1")
    fleet.wait_for("r1")
    go_on = threading.Event()
    plan = fleet.brain.plan

    def slowly(problem: Problem) -> TaskGraph:
        if "south" in problem.instruction:
            assert go_on.wait(20.0)
        return plan(problem)

    monkeypatch.setattr(fleet.brain, "plan", slowly)
    slow = coordinator.ask("ring south", by="me")
    coordinator.cancel(slow, by="me")
    assert coordinator.wait(slow, timeout_s=10.0).cancelled
    for _ in range(2):
        assert fleet.do("ring north").status == "ended"
    assert coordinator.look_at(lambda s: slow not in s.tasks)
    go_on.set()
    assert fleet.do("ring north").status == "ended"
    assert coordinator.failure is None


def test_a_task_that_is_long_past_is_still_told_of(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.robot.coordinator.coordinator.REMEMBERED", 1)
    assert fleet.coordinator is not None
    fleet.coordinator.close()
    coordinator = fleet.begin()
    fleet.add("r1")
    fleet.wait_for("r1")
    first = coordinator.ask("ring north", by="me")
    assert coordinator.wait(first, timeout_s=20.0).outcome == "succeeded"
    second = coordinator.ask("ring south", by="me")
    coordinator.wait(second, timeout_s=20.0)
    assert coordinator.look_at(lambda s: list(s.tasks)) == [second]
    began_s = time.monotonic()
    past = coordinator.wait(first, timeout_s=20.0)
    assert time.monotonic() - began_s < 5.0, "what is over is not waited for"
    assert (past.status, past.outcome) == ("ended", "succeeded")
    assert [i.outcome for i in past.intents] == ["succeeded"]
    with pytest.raises(UnknownName, match=second):
        coordinator.wait(second[:-1] + "x", timeout_s=20.0)
