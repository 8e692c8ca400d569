"""What comes from outside and makes no sense ends nothing but itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_coordinator import Fleet
from toy_robots import ToyBrain

from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.robot import messages as say
from loopwright.robot.journal.fold import fold
from loopwright.robot.knowledge import Problem
from loopwright.robot.logic import Fact
from loopwright.robot.memory.memory import Memory
from loopwright.robot.memory.things import Things
from loopwright.robot.task import Step, TaskGraph


class SlowBrain(ToyBrain):
    """Thinks until it may answer."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def plan(self, problem: Problem) -> TaskGraph:
        self.may_answer.wait(10.0)
        return super().plan(problem)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    fleet.begin()
    fleet.add("r1")
    fleet.wait_for("r1")
    yield fleet
    fleet.close()


def test_an_instruction_that_is_no_text_is_refused_and_the_next_is_done(fleet: Fleet) -> None:
    assert fleet.coordinator
    with pytest.raises(InvalidConfig, match="no text"):
        fleet.coordinator.ask("ring \ud800 north", by="ann")
    with pytest.raises(UnicodeEncodeError):
        fleet.coordinator.ask("ring north", by="\ud800")
    assert fleet.do("ring north").outcome == "succeeded"


@pytest.mark.parametrize("deadline_s", [float("inf"), float("nan")])
def test_a_graph_that_no_journal_could_hold_is_none(deadline_s: float) -> None:
    with pytest.raises(InvalidConfig, match="cannot be written down"):
        TaskGraph(steps=(Step(id="a", skill="ring", deadline_s=deadline_s),))


@pytest.mark.parametrize(
    "message",
    [
        say.Joined(
            robot="r9",
            incarnation="x",
            coordinator_epoch=1,
            parts=("arm",),
            skills=({"name": "of another version"},),
            running=(),
            sightings=(),
        ),
        say.Seen(by="r9", sightings=({"entity": "world"},)),
        say.Seen(by="r9", sightings=({"entity": "world", "by": "r9", "time_s": "late"},)),
        say.Standing(robot="r9", intent="i-none", standing="interrupted"),
        say.RobotPulse(robot="r9", incarnation="x", running=("i-none",), held=""),
    ],
)
def test_a_report_that_makes_no_sense_is_dropped(fleet: Fleet, message: say.Message) -> None:
    fleet.bus.publish(say.REPORTS, message)
    assert fleet.do("ring north").outcome == "succeeded"
    assert fleet.coordinator
    # What is written down can be read again.
    fleet.coordinator.close()
    fleet.begin()
    fleet.wait_for("r1")
    assert fleet.do("ring south").outcome == "succeeded"


def test_of_an_end_with_a_sighting_that_is_none_the_rest_is_heard(fleet: Fleet) -> None:
    fleet.runners["r1"].lasts_s = 60.0
    assert fleet.coordinator
    task = fleet.coordinator.ask("ring north", by="ann")
    until_s = time.monotonic() + 10.0
    while not (found := fleet.coordinator.task(task).open_intents) and time.monotonic() < until_s:
        time.sleep(0.01)
    broken = say.Ended(
        robot="r1",
        intent=found[0].id,
        claim="gave-up",
        reason="the rope is torn",
        lasted_s=1.0,
        sightings=({"entity": "world", "pose": "up there"},),
    )
    fleet.bus.publish(say.REPORTS, broken)
    while fleet.coordinator.task(task).open_intents and time.monotonic() < until_s:
        time.sleep(0.01)
    assert "the rope is torn" in fleet.coordinator.task(task).intents[0].reason


def test_nobody_ends_the_attempt_of_another(fleet: Fleet) -> None:
    fleet.runners["r1"].lasts_s = 60.0
    assert fleet.coordinator
    task = fleet.coordinator.ask("ring north", by="ann")
    until_s = time.monotonic() + 10.0
    while not (found := fleet.coordinator.task(task).open_intents) and time.monotonic() < until_s:
        time.sleep(0.01)
    for message in (
        say.Ended(robot="r2", intent=found[0].id, claim="gave-up", reason="tired", lasted_s=1.0),
        say.Standing(robot="r2", intent=found[0].id, standing="interrupted"),
    ):
        fleet.bus.publish(say.REPORTS, message)
    time.sleep(0.5)
    assert fleet.coordinator.task(task).open_intents


def test_nobody_tells_what_another_sees(fleet: Fleet) -> None:
    rung = {"entity": "world", "by": "r1", "time_s": time.time(), "pose": None}
    for by in ("r2", "r1"):
        sighting = {**rung, "relations": [f"rung({by})"]}
        fleet.bus.publish(say.REPORTS, say.Seen(by=by, sightings=(sighting,)))
    assert fleet.coordinator
    until_s = time.monotonic() + 5.0
    heard = Fact("rung", ("r1",))
    while not fleet.memory.facts()(heard) and time.monotonic() < until_s:
        time.sleep(0.01)
    # The memory of this world believes the last sighting alone, and both are newer than it.
    assert fleet.memory.facts()(heard)
    assert not fleet.memory.facts()(Fact("rung", ("r2",)))


def test_a_task_may_bring_its_own_id_once(fleet: Fleet) -> None:
    assert fleet.coordinator
    assert fleet.coordinator.ask("ring north", by="ann", task="mine") == "mine"
    with pytest.raises(InvalidConfig, match="a task mine already"):
        fleet.coordinator.ask("ring south", by="bob", task="mine")
    assert fleet.coordinator.wait("mine", timeout_s=10.0).outcome == "succeeded"
    with pytest.raises(InvalidConfig, match="a task mine already"):
        fleet.coordinator.ask("ring south", by="bob", task="mine")


def test_a_stop_of_a_robot_that_does_not_exist_is_an_error(fleet: Fleet) -> None:
    assert fleet.coordinator
    with pytest.raises(UnknownName, match="did you mean 'r1'"):
        fleet.coordinator.stop("r11", by="ann")
    assert fleet.do("ring north").outcome == "succeeded"


def test_a_task_that_is_paused_while_it_is_planned_begins_nothing(tmp_path: Path) -> None:
    brain = SlowBrain()
    fleet = Fleet(tmp_path, brain=brain)
    try:
        coordinator = fleet.begin()
        fleet.add("r1")
        fleet.wait_for("r1")
        task = coordinator.ask("ring north", by="ann")
        coordinator.pause(task, by="ann")
        brain.may_answer.set()
        until_s = time.monotonic() + 10.0
        while coordinator.task(task).graph is None and time.monotonic() < until_s:
            time.sleep(0.01)
        time.sleep(0.3)
        assert (coordinator.task(task).status, fleet.world.acts) == ("paused", [])
        coordinator.resume(task, by="ann")
        assert coordinator.wait(task, timeout_s=10.0).outcome == "succeeded"
    finally:
        fleet.close()


def test_a_task_that_is_resumed_before_there_is_a_plan_is_planned(tmp_path: Path) -> None:
    brain = SlowBrain()
    fleet = Fleet(tmp_path, brain=brain)
    try:
        coordinator = fleet.begin()
        fleet.add("r1")
        fleet.wait_for("r1")
        task = coordinator.ask("ring north", by="ann")
        coordinator.pause(task, by="ann")
        coordinator.resume(task, by="ann")
        assert coordinator.task(task).status == "planning"
        brain.may_answer.set()
        assert coordinator.wait(task, timeout_s=10.0).outcome == "succeeded"
    finally:
        fleet.close()


def test_a_skill_whose_effect_nobody_can_observe_ends_unknown(tmp_path: Path) -> None:
    # The true memory has no rule for "rung", and no sensor of these robots speaks of it.
    fleet = Fleet(tmp_path, memory=Memory(tmp_path / "memory.db", Things(())))
    try:
        fleet.begin()
        fleet.add("r1")
        fleet.wait_for("r1")
        task = fleet.do("ring north")
        assert task.outcome == "unknown"
        assert "could not be seen" in task.intents[0].reason
        assert fleet.coordinator
        assert fold(fleet.coordinator._journal.entries()).tasks[task.id].outcome == "unknown"
    finally:
        fleet.close()
