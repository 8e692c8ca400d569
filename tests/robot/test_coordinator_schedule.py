"""Deadlines, lost robots and preferences with real journals, agents and threads on a bus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_coordinator import Fleet
from toy_robots import SKILLS

from loopwright.core.errors import InvalidConfig
from loopwright.robot.coordinator.coordinator import LATENESS_STEP_S
from loopwright.robot.coordinator.scheduling.foresight import MOST_CHOICES, is_worth_a_schedule
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import FleetState, RobotState, TaskState
from loopwright.robot.journal.journal import Journal
from loopwright.robot.task import Step, TaskGraph


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    try:
        fleet.begin()
        yield fleet
    finally:
        fleet.close()


def until(true: Callable[[], bool], within_s: float = 15.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.01)


def written(fleet: Fleet, kind: type[happened.Event]) -> list[happened.Event]:
    found = [e.event for e in Journal(fleet.folder / "journal.db").entries()]
    return [event for event in found if isinstance(event, kind)]


def test_what_cannot_be_in_time_is_said_before_it_is_late_and_once(fleet: Fleet) -> None:
    fleet.add("r1", lasts_s=0.3)
    fleet.wait_for("r1")
    assert fleet.coordinator
    # A ring is expected to take half a second, as long as none was measured.
    bells = " ".join(f"bell-{n}" for n in range(12))
    task = fleet.coordinator.ask(f"ring {bells}", by="test", deadline_s=0.5)
    until(lambda: bool(written(fleet, happened.TaskLate)))
    ended = fleet.coordinator.wait(task, timeout_s=20.0)
    assert ended.outcome == "succeeded"
    assert "s after its deadline" in ended.reason
    assert ended.ended_s
    assert ended.overdue_s(ended.ended_s) == pytest.approx(ended.ended_s - ended.asked_s - 0.5)
    first, *others = written(fleet, happened.TaskLate)
    assert isinstance(first, happened.TaskLate)
    assert first.late_s > LATENESS_STEP_S
    assert first.proven
    assert len(others) <= 2


def test_a_deadline_that_is_kept_is_not_spoken_of(fleet: Fleet) -> None:
    fleet.add("r1", lasts_s=0.2)
    fleet.wait_for("r1")
    assert fleet.coordinator
    task = fleet.coordinator.ask("ring a b c d e", by="test", deadline_s=60.0)
    ended = fleet.coordinator.wait(task, timeout_s=20.0)
    assert (ended.outcome, ended.reason, ended.expected_late_s) == ("succeeded", "", 0.0)
    assert not written(fleet, happened.TaskLate)


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_deadline_that_is_no_time_to_come_is_refused(fleet: Fleet, deadline_s: float) -> None:
    assert fleet.coordinator
    with pytest.raises(InvalidConfig, match="deadline_s"):
        fleet.coordinator.ask("ring a", by="test", deadline_s=deadline_s)
    assert not written(fleet, happened.TaskAsked)


def test_a_task_is_kept_for_a_robot_that_comes_back(fleet: Fleet) -> None:
    fleet.add("r1", lasts_s=60.0)
    fleet.wait_for("r1")
    assert fleet.coordinator
    task = fleet.coordinator.ask("ring north", by="test")
    until(lambda: bool(fleet.coordinator and fleet.coordinator.task(task).intents))
    fleet.agents["r1"].close()  # as if its process had died
    until(lambda: bool(written(fleet, happened.RobotLost)))
    time.sleep(0.3)
    assert fleet.coordinator.task(task).status == "running"
    fleet.add("r1")
    ended = fleet.coordinator.wait(task, timeout_s=15.0)
    assert ended.outcome == "succeeded"
    assert len(fleet.world.acts) == 1


def test_a_schedule_is_kept_while_there_is_something_to_choose(fleet: Fleet) -> None:
    for robot in ("r1", "r2"):
        fleet.add(robot, lasts_s=0.4)
    fleet.wait_for("r1", "r2")
    assert fleet.coordinator
    tasks = [
        fleet.coordinator.ask(f"ring {bells}", by="test") for bells in ("a b c d e", "f g h i j")
    ]
    coordinator = fleet.coordinator
    until(lambda: coordinator._schedule is not None)
    schedule = coordinator._schedule
    assert schedule
    assert schedule.proof in ("optimal", "best-found")
    assert {p.task for p in schedule.placed} == set(tasks)
    for task in tasks:
        assert coordinator.wait(task, timeout_s=20.0).outcome == "succeeded"


def test_nobody_thinks_where_there_is_nothing_to_choose_or_far_too_much() -> None:
    assert not is_worth_a_schedule(_fleet(robots=1, tasks=1))
    assert not is_worth_a_schedule(_fleet(robots=0, tasks=1))
    assert is_worth_a_schedule(_fleet(robots=2, tasks=1))
    assert is_worth_a_schedule(_fleet(robots=1, tasks=2))
    assert is_worth_a_schedule(_fleet(robots=1, tasks=1, deadline_s=5.0))
    assert not is_worth_a_schedule(_fleet(robots=100, tasks=MOST_CHOICES // 100 + 1))


def _fleet(robots: int, tasks: int, deadline_s: float | None = None) -> FleetState:
    skills = {c.name: c for c in SKILLS.contracts}
    graph = TaskGraph(steps=(Step(id="a", skill="ring", values={"bell": "north"}),))
    parts = frozenset({"arm"})
    return FleetState(
        robots={
            f"r{n}": RobotState(name=f"r{n}", epoch=1, parts=parts, skills=skills)
            for n in range(robots)
        },
        tasks={
            f"t{n}": TaskState(
                id=f"t{n}", trace="", instruction="", by="", asked_s=0.0, number=n,
                status="running", graph=graph, deadline_s=deadline_s,
            )
            for n in range(tasks)
        },
    )  # fmt: skip
