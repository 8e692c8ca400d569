"""The skills of the warehouse as scenarios."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loopwright.core.learner import FitJob
from loopwright.core.scenario import Request, split_seed
from loopwright.scenarios.check import check_scenario
from loopwright.scenarios.registry import get_scenario, scenario_names
from loopwright.scenarios.sources import attempt, record_sources
from loopwright.scenarios.warehouse.evidence import HANDLING, is_met
from loopwright.scenarios.warehouse.starts import begin, start_of
from loopwright.scenarios.warehouse.task import APART_M, TASKS, Goal, WarehouseTask
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.train.linear import learn

QUICK = ("warehouse-arm-pick-v1",)
SLOW = tuple(task.id for task in TASKS if task.id not in QUICK)


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_every_scenario_keeps_its_contract(name: str) -> None:
    report = check_scenario(get_scenario(name))
    report.require()
    assert report.kinds == ("demo", "play", "video")


def test_every_task_is_found_by_name() -> None:
    assert {task.id for task in TASKS} <= set(scenario_names())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_a_start_is_where_it_says(task: WarehouseTask) -> None:
    world, seed = Warehouse(), split_seed("gate", 3)
    goal = begin(task, world, seed)
    found, said = start_of(world, task.robot, goal), task.start(seed)
    assert found == pytest.approx(said, abs=0.01)
    places = list(task.places(seed).values())
    for number, place in enumerate(places):
        for other in places[:number]:
            assert np.hypot(place[0] - other[0], place[1] - other[1]) >= APART_M


def test_what_is_put_in_a_hand_is_held() -> None:
    for task in (task for task in TASKS if task.skill == "place"):
        world = Warehouse()
        goal = begin(task, world, split_seed("train", 0))
        assert world.robots[task.robot].holds(world.model.geom(goal.object).id)


@pytest.mark.parametrize(
    ("change", "met"),
    [
        ({}, True),
        ({"held": 0.0}, False),
        ({"above_surface_m": 0.01}, False),
        ({"tool_to_object_m": 0.2}, False),
    ],
)
def test_picked_is_held_in_the_hand_above_the_surface(change: dict[str, float], met: bool) -> None:
    seen = dict.fromkeys(HANDLING, 0.0)
    seen |= {"held": 1.0, "above_surface_m": 0.1, "tool_to_object_m": 0.01} | change
    goal = Goal(skill="pick", object="red-cube", surface="table")
    assert is_met(goal, np.array(list(seen.values()))) is met


def test_a_policy_is_learned_from_demonstrations_and_judged(tmp_path: Path) -> None:
    scenario = get_scenario("warehouse-arm-pick-v1")
    demos = [e for e, _ in record_sources(scenario, Request(kind="demo", count=2))]
    assert all(demo.header.instruction.startswith("pick up the ") for demo in demos)
    (tmp_path / "c").mkdir()
    facts = learn({}, FitJob(episodes=demos, seed=0, out=tmp_path / "c", scratch=tmp_path / "s"))
    assert facts["steps"] == sum(demo.num_steps for demo in demos)
    from loopwright.core.policy import Candidate
    from loopwright.models.linear.policy import load

    world = scenario.make_world()
    try:
        policy = load(tmp_path / "c", Candidate.open(tmp_path / "c"))
        episode, verdict = attempt(scenario, world, policy, split_seed("gate", 0), None)
    finally:
        world.close()
    assert verdict.outcome in ("success", "failure")
    assert episode.num_steps <= scenario.max_steps
