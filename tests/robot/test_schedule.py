"""Schedules hold what they promise: order, resources, and no worse than taking the oldest first."""

from __future__ import annotations

import sys
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.robot.coordinator.ability import clash, resources
from loopwright.robot.coordinator.scheduling.durations import Durations
from loopwright.robot.coordinator.scheduling.schedule import (
    Placed,
    Schedule,
    by_rules_of_thumb,
    cost,
    in_greedy_order,
    schedule,
)
from loopwright.robot.coordinator.scheduling.situation import (
    Choice,
    Errand,
    Job,
    Situation,
    situation_of,
)
from loopwright.robot.journal.fold import FleetState, IntentState, RobotState, TaskState
from loopwright.robot.logic import Fact, Symbols, conditions
from loopwright.robot.skill import Parameter, SkillContract
from loopwright.robot.task import Outcome, Step, TaskGraph

WITHIN_S = 0.1
ROBOTS = ("r1", "r2", "r3")
HOLDINGS = ("whole", "arm", "base", "arm base", "whole zone:aisle", "base zone:aisle")


@st.composite
def choices(draw: st.DrawFn, most: int = 3) -> tuple[Choice, ...]:
    robots = draw(st.lists(st.sampled_from(ROBOTS), min_size=1, max_size=most, unique=True))
    found = []
    for robot in robots:
        names = draw(st.sampled_from(HOLDINGS)).split()
        holds = frozenset(n if ":" in n else f"{robot}/{n}" for n in names)
        lasts_s = draw(st.floats(0.01, 40.0))
        found.append(Choice(robot=robot, lasts_s=lasts_s, holds=holds))
    return tuple(found)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    errands, jobs = [], []
    dues = st.none() | st.floats(-20.0, 100.0)
    for n in range(draw(st.integers(1, 4))):
        task = f"t{n}"
        errands.append(Errand(task=task, due_s=draw(dues), weight=draw(st.integers(1, 5))))
        for m in range(draw(st.integers(1, 4))):
            after = draw(st.sets(st.integers(0, m - 1))) if m else set()
            jobs.append(
                Job(
                    task=task,
                    step=f"s{m}",
                    choices=draw(choices()),
                    after=tuple(f"s{a}" for a in sorted(after)),
                    due_s=draw(dues) if draw(st.booleans()) else None,
                )
            )
    held: set[str] = set()
    for n, (choice,) in enumerate(draw(st.lists(choices(most=1), max_size=2))):
        if not clash(choice.holds, held):  # nothing is held twice by what runs
            held |= choice.holds
            jobs.append(Job(task="t0", step=f"running-{n}", choices=(choice,), running=True))
    return Situation(made_s=1000.0, errands=tuple(errands), jobs=tuple(jobs))


@settings(max_examples=60, deadline=None)
@given(situations())
def test_a_schedule_keeps_order_and_resources_and_is_no_worse_than_greed(
    situation: Situation,
) -> None:
    found = schedule(situation, within_s=WITHIN_S)
    is_possible(situation, found.placed)
    greedy = in_greedy_order(situation)
    is_possible(situation, greedy)
    assert cost(situation, found.placed) <= cost(situation, greedy)
    for begin in by_rules_of_thumb(situation):
        is_possible(situation, begin)
        assert cost(situation, found.placed) <= cost(situation, begin)
    for task, late_s in found.late_s.items():
        end_s = max(p.end_s for p in found.placed if p.task == task)
        dues = [e.due_s for e in situation.errands if e.task == task]
        dues += [j.due_s for j in situation.jobs if j.task == task]
        assert 0.0 < late_s <= end_s - min(d for d in dues if d is not None)


def is_possible(situation: Situation, placed: tuple[Placed, ...]) -> None:
    """Hold a schedule against the situation it was made for."""
    by_key = {p.key: p for p in placed}
    assert by_key.keys() == {j.key for j in situation.jobs}
    assert [p.start_s for p in placed] == sorted(p.start_s for p in placed)
    for job in situation.jobs:
        one = by_key[job.key]
        choice = next(c for c in job.choices if c.robot == one.robot)
        assert one.end_s - one.start_s == pytest.approx(choice.lasts_s)
        assert one.start_s >= 0.0
        assert one.start_s == 0.0 or not job.running
        for before in job.after:
            assert by_key[job.task, before].end_s <= one.start_s
    for one, other in combinations(placed, 2):
        apart = one.end_s <= other.start_s + 1e-9 or other.end_s <= one.start_s + 1e-9
        assert apart or not clash(one.holds, other.holds)


def test_what_is_due_comes_first_and_what_cannot_be_in_time_is_said() -> None:
    found = schedule(
        Situation(
            made_s=0.0,
            errands=(
                Errand(task="old"),
                Errand(task="due", due_s=15.0),
                Errand(task="late", due_s=20.0),
            ),
            jobs=tuple(
                Job(task=t, step="s", choices=(_by("r1", 10.0),)) for t in ("old", "late", "due")
            ),
        )
    )
    assert [p.task for p in found.placed] == ["due", "late", "old"]
    assert (found.late_s, found.proof) == ({}, "optimal")
    worse = schedule(
        Situation(
            made_s=0.0,
            errands=(Errand(task="a", due_s=12.0), Errand(task="b", due_s=12.0)),
            jobs=tuple(Job(task=t, step="s", choices=(_by("r1", 10.0),)) for t in "ab"),
        )
    )
    assert list(worse.late_s.values()) == [pytest.approx(8.0)]


def test_a_step_goes_to_the_robot_that_ends_it_first_not_to_the_first() -> None:
    situation = Situation(
        made_s=0.0,
        errands=(Errand(task="t"),),
        jobs=(Job(task="t", step="s", choices=(_by("slow", 30.0), _by("fast", 10.0))),),
    )
    assert schedule(situation).by_key["t", "s"].robot == "fast"
    assert in_greedy_order(situation)[0].robot == "slow"


def test_without_the_solver_it_is_the_greedy_order_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    monkeypatch.delitem(
        sys.modules, "loopwright.robot.coordinator.scheduling.solver", raising=False
    )
    situation = Situation(
        made_s=0.0,
        errands=(Errand(task="t", due_s=5.0),),
        jobs=(Job(task="t", step="s", choices=(_by("slow", 30.0), _by("fast", 10.0))),),
    )
    found = schedule(situation)
    assert (found.proof, found.by_key["t", "s"].robot) == ("greedy", "slow")
    assert "loopwright[robot]" in found.why
    assert found.late_s == {"t": 25.0}


def test_without_time_to_search_a_rule_of_thumb_still_beats_greed() -> None:
    situation = Situation(
        made_s=0.0,
        errands=(Errand(task="old"), Errand(task="due", due_s=15.0)),
        jobs=tuple(
            Job(task=t, step=str(n), choices=(_by("r1", 5.0), _by("r2", 5.0)))
            for t in ("old", "due")
            for n in range(6)
        ),
    )
    found = schedule(situation, within_s=0.0)
    assert (found.proof, found.late_s) == ("best-found", {})
    assert "0 s were over" in found.why


def test_parts_of_one_robot_work_side_by_side_and_the_whole_of_it_alone() -> None:
    def job(step: str, part: str) -> Job:
        return Job(task="t", step=step, choices=(_by("r1", 10.0, part),))

    situation = Situation(
        made_s=0.0,
        errands=(Errand(task="t"),),
        jobs=(job("a", "arm"), job("b", "base"), job("c", "whole")),
    )
    assert schedule(situation).makespan_s == pytest.approx(20.0)


# Situations of a fleet ---------------------------------------------------------------------------

STATION = Parameter(name="station", kind="place")
DRIVE = SkillContract(
    name="drive",
    parameters=(Parameter(name="start", kind="place"), Parameter(name="goal", kind="place")),
    requires=conditions("at(?robot, ?start)"),
    ensures=conditions("at(?robot, ?goal)", "not at(?robot, ?start)"),
    resources=("base", "zone:aisle"),
    longest_s=60.0,
)
PICK = SkillContract(
    name="pick",
    parameters=(STATION,),
    requires=conditions("at(?robot, ?station)"),
    ensures=conditions("picked(?station)"),
    resources=("arm",),
    longest_s=40.0,
    expected_s=8.0,
)


def fleet(*graphs: TaskGraph, alive: tuple[str, ...] = ROBOTS) -> FleetState:
    skills = {c.name: c for c in (DRIVE, PICK)}
    parts = frozenset({"arm", "base"})
    robots = {
        name: RobotState(name=name, epoch=1, parts=parts, skills=skills, alive=name in alive)
        for name in ROBOTS
    }
    tasks = {
        f"t{n}": TaskState(
            id=f"t{n}", trace="", instruction="", by="", asked_s=900.0, number=n,
            status="running", graph=graph, plans=1, deadline_s=130.0,
        )
        for n, graph in enumerate(graphs, start=1)
    }  # fmt: skip
    return FleetState(tasks=tasks, robots=robots)


def attempt(
    state: FleetState, step: str, robot: str, contract: SkillContract, took_s: float | None = None,
    outcome: Outcome = "succeeded", **values: str,
) -> IntentState:  # fmt: skip
    intent = IntentState(
        id=f"i{len(state.intents)}", task="t1", step=step, robot=robot, epoch=1,
        skill=contract.name, values=values, issued_s=995.0, number=9, contract=contract,
    )  # fmt: skip
    if took_s is not None:
        intent.ended_s, intent.outcome = 995.0 + took_s, outcome
    state.intents[intent.id] = intent
    state.tasks["t1"].intents.append(intent)
    return intent


def survey(state: FleetState, *true: str, durations: Durations | None = None) -> Situation:
    symbols = Symbols(frozenset(Fact.parse(t) for t in true))
    return situation_of(state, symbols, lambda: symbols, durations or Durations(), 1000.0)


def test_robots_that_stand_there_are_chosen_from_else_the_way_counts() -> None:
    state = fleet(TaskGraph(steps=(Step(id="a", skill="pick", values={"station": "door"}),)))
    there = survey(state, "at(r1, bench)", "at(r2, door)", "at(r3, door)").jobs[0]
    assert [(c.robot, c.lasts_s) for c in there.choices] == [("r2", 8.0), ("r3", 8.0)]
    away = survey(state, "at(r1, bench)", "at(r2, shelf)").jobs[0]
    # A drive of unknown duration is expected to take a quarter of its longest.
    assert [(c.robot, c.lasts_s) for c in away.choices] == [("r1", 23.0), ("r2", 23.0)]


def test_a_robot_that_is_brought_there_by_the_plan_needs_no_way() -> None:
    lead = Step(id="a", skill="drive", values={"start": "bench", "goal": "door"}, robot="r1")
    pick = Step(id="b", skill="pick", values={"station": "door"}, after=("a",))
    found = survey(fleet(TaskGraph(steps=(lead, pick))), "at(r1, bench)", "at(r2, shelf)")
    assert [(c.robot, c.lasts_s) for c in found.by_key["t1", "b"].choices] == [("r1", 8.0)]
    assert found.by_key["t1", "b"].after == ("a",)


def test_what_runs_has_the_rest_of_its_time_and_its_deadline_counts_from_the_asking() -> None:
    state = fleet(TaskGraph(steps=(Step(id="a", skill="pick", values={"station": "door"}),)))
    attempt(state, "a", "r1", PICK, station="door")
    found = survey(state)
    (job,) = found.jobs
    assert (job.running, job.choices[0].lasts_s) == (True, 3.0)
    assert found.errands[0].due_s == pytest.approx(30.0)


def test_what_nobody_at_work_can_do_is_said_and_the_rest_is_scheduled() -> None:
    steps = (
        Step(id="a", skill="pick", values={"station": "door"}, robot="r3"),
        Step(id="b", skill="pick", values={"station": "door"}, after=("a",)),
        Step(id="c", skill="pick", values={"station": "door"}),
    )
    found = survey(fleet(TaskGraph(steps=steps), alive=("r1", "r2")), "at(r1, door)")
    assert [j.step for j in found.jobs] == ["c"]
    assert found.stuck == ("t1",)


def test_durations_are_the_median_of_what_succeeded_the_most_alike_first() -> None:
    state = fleet(TaskGraph(steps=()))
    for robot, took_s, start in (
        ("r1", 10, "a"),
        ("r1", 20, "a"),
        ("r1", 90, "a"),
        ("r1", 40, "b"),
    ):
        attempt(state, "s", robot, DRIVE, took_s, start=start, goal="door")
    attempt(state, "s", "r1", DRIVE, 1.0, "failed", start="a", goal="door")
    known = Durations(state.intents.values())
    assert known.expected_s("r1", DRIVE, {"start": "a", "goal": "door"}) == 20.0
    assert known.expected_s("r1", DRIVE, {"start": "c", "goal": "door"}) == 30.0
    assert known.expected_s("r2", DRIVE, {"start": "b", "goal": "door"}) == 40.0
    assert known.expected_s("r2", DRIVE, {"start": "c", "goal": "c"}) == 30.0
    assert known.expected_s("r1", PICK, {"station": "door"}) == 8.0


def test_a_skill_that_names_only_places_takes_its_whole_robot() -> None:
    patrol = SkillContract(name="patrol", resources=("zone:aisle",))
    sweep = SkillContract(name="sweep")
    held = resources(patrol, "r1", {})
    assert held == {"zone:aisle", "r1/whole"}
    assert clash(resources(sweep, "r1", {}), held)
    assert clash(resources(PICK, "r1", {"station": "door"}), held)
    assert not clash(resources(PICK, "r10", {"station": "door"}), held)


def test_an_empty_situation_is_an_empty_schedule() -> None:
    assert schedule(Situation(made_s=5.0, errands=(), jobs=())) == Schedule(
        made_s=5.0, placed=(), proof="optimal", why="there is nothing to choose"
    )


def _by(robot: str, lasts_s: float, *parts: str) -> Choice:
    holds = frozenset(f"{robot}/{part}" for part in parts or ("whole",))
    return Choice(robot=robot, lasts_s=lasts_s, holds=holds)
