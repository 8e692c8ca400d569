"""Plans: found from contracts alone, valid when played through, refused when they cannot hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_world import ROBOTS, START, THINGS, FixedMemory

from loopwright.robot.brain.default import SymbolicBrain
from loopwright.robot.brain.symbolic import plan_for
from loopwright.robot.brain.validate import check_graph
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.knowledge import NoPlan, NotSeen, Problem
from loopwright.robot.logic import all_met, conditions
from loopwright.robot.memory.memory import Memory
from loopwright.robot.task import Step, TaskGraph


def problem(text: str, robots: dict[str, RobotState] = ROBOTS, **more: Any) -> Problem:
    return Problem(instruction=text, goal=(), robots=robots, memory=FixedMemory(), **more)


def played(graph: TaskGraph) -> bool | None:
    state = START
    for identity in graph.order():
        step = graph.step(identity)
        assert step.robot
        contract = ROBOTS[step.robot].skills[step.skill].bound(step.robot, step.values)
        assert all_met(contract.requires, state)
        state = state.after(contract.ensures)
    return all_met(graph.goal, state)


def test_a_plan_reaches_its_goal_in_the_fewest_ways() -> None:
    graph = SymbolicBrain(THINGS).plan(problem("bring the red cube to the tray by the door"))
    assert played(graph)
    assert len(graph.steps) == 4


def test_robots_hand_over_when_none_can_do_it_alone() -> None:
    arm_2 = replace(ROBOTS["arm-1"], name="mover-1")
    handing = {**ROBOTS, "mover-1": arm_2}
    moved = START.after(conditions("not at(mover-1, store)", "at(mover-1, door)"))
    graph = plan_for(conditions("on(red-cube, tray)"), handing, THINGS, moved)
    assert {s.robot for s in graph.steps} == {"arm-1", "cart-1", "mover-1"}
    assert [s.values.get("surface") for s in graph.steps if s.skill == "place"] == [
        "cart-1",
        "tray",
    ]


def test_a_plan_makes_no_detour() -> None:
    away = START.after(conditions("not at(mover-1, store)", "at(mover-1, door)"))
    graph = plan_for(conditions("on(green-cube-2, table)"), ROBOTS, THINGS, away)
    assert [step.skill for step in graph.steps] == ["drive", "pick", "drive", "place"]


def test_only_who_was_named_handles_things() -> None:
    graph = SymbolicBrain(THINGS).plan(problem("have mover-1 put the red cube on the cart-1"))
    assert {s.robot for s in graph.steps if s.skill in ("pick", "place")} == {"mover-1"}
    with pytest.raises(NoPlan, match=r"nobody at work can bring about at\(arm-1, door\)"):
        SymbolicBrain(THINGS).plan(problem("have arm-1 put the red cube on the tray"))


def test_what_is_missing_is_said() -> None:
    with pytest.raises(NoPlan, match=r"at\(arm-1, store\) \(arm-1 can pick, place\)"):
        SymbolicBrain(THINGS).plan(problem("send arm-1 to the store"))


def test_what_holds_already_needs_no_step() -> None:
    graph = plan_for(conditions("on(red-cube, table)"), ROBOTS, THINGS, START)
    assert graph.steps == ()


def test_without_a_way_there_is_no_plan() -> None:
    only_arm = {"arm-1": ROBOTS["arm-1"]}
    with pytest.raises(NoPlan, match="no way to get to on\\(red-cube, tray\\) with arm-1") as no:
        SymbolicBrain(THINGS).plan(problem("bring the red cube to the tray", only_arm))
    assert no.type is NoPlan, "everything was seen, so looking again is of no use"
    with pytest.raises(NoPlan, match="no robot is at work"):
        SymbolicBrain(THINGS).plan(problem("bring the red cube to the tray", {}))


GO = Step(id="a", skill="drive", robot="cart-1", values={"start": "store", "goal": "bench"})
PICK = Step(
    id="b",
    skill="pick",
    robot="arm-1",
    values={"object": "red-cube", "surface": "table", "station": "bench"},
)
LOAD = Step(
    id="c",
    skill="place",
    robot="arm-1",
    after=("b",),
    values={"object": "red-cube", "surface": "cart-1", "station": "bench"},
)


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((replace(PICK, robot="arm-9"),), "'arm-9'; at work"),
        ((replace(GO, skill="fly"),), "cart-1 cannot fly"),
        ((replace(GO, values={"start": "store"}),), "drive takes"),
        ((replace(GO, values={"start": "store", "goal": "moon"}),), "'moon', which does not"),
        ((replace(GO, values={"start": "door", "goal": "bench"}),), "not at\\(cart-1, door\\)"),
        ((LOAD,), "would begin although not"),
        ((GO, PICK, LOAD), "c needs at\\(cart-1, bench\\) of a"),
        ((PICK,), "would end without on\\(red-cube, cart-1\\)"),
    ],
)
def test_a_graph_that_cannot_hold_is_refused(steps: tuple[Step, ...], reason: str) -> None:
    steps = tuple(
        replace(s, after=tuple(a for a in s.after if a in {t.id for t in steps})) for s in steps
    )
    graph = TaskGraph(steps=steps, goal=conditions("on(red-cube, cart-1)"))
    with pytest.raises(NoPlan, match=reason):
        check_graph(graph, ROBOTS, THINGS, START)


@pytest.mark.parametrize(
    ("goal", "reason"),
    [
        ("not polished(red-cube)", "unknown predicate 'polished'"),
        ("not on(red-cube, moon)", "unknown thing 'moon'"),
        ("not on(red-cube)", "on is of object, carrier"),
        ("not at(red-cube, bench)", "at is of robot or surface, station"),
    ],
)
def test_a_goal_that_nobody_could_observe_is_refused(goal: str, reason: str) -> None:
    graph = TaskGraph(steps=(GO,), goal=conditions(goal))
    with pytest.raises(NoPlan, match="cannot be observed") as refused:
        check_graph(graph, ROBOTS, THINGS, START)
    assert reason in str(refused.value)


def test_a_graph_that_holds_passes() -> None:
    graph = TaskGraph(
        steps=(GO, PICK, replace(LOAD, after=("a", "b"))), goal=conditions("on(red-cube, cart-1)")
    )
    check_graph(graph, ROBOTS, THINGS, START)


def test_what_nobody_has_seen_is_said(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "memory.db", THINGS)
    asked = Problem(instruction="pick up the red cube", goal=(), robots=ROBOTS, memory=memory)
    with pytest.raises(NotSeen, match=r"nobody has seen .*red-cube"):
        SymbolicBrain(THINGS).plan(asked)
    memory.close()


def test_plans_that_are_made_side_by_side_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where another process would have its own file of that name.
    (tmp_path / "output.sas").mkdir()
    monkeypatch.chdir(tmp_path)
    goals = [conditions(f"on({color}-cube, tray)") for color in ("red", "blue", "red")]
    with ThreadPoolExecutor(len(goals)) as pool:
        graphs = list(pool.map(lambda goal: plan_for(goal, ROBOTS, THINGS, START), goals))
    for graph, goal in zip(graphs, goals, strict=True):
        moved = {s.values.get("object") for s in graph.steps} - {None}
        assert moved == {goal[0].fact.args[0]}
