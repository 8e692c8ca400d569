"""A schedule chooses among what may be done; it makes nothing possible, and nothing impossible."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from test_moves_laws import (
    FACTS,
    ROBOTS,
    RULES,
    History,
    begin,
    happenings,
    laws,
    nothing_is_held_twice,
    obeys,
    truths,
)

from loopwright.robot.coordinator.moves import (
    AskLook,
    AskPlan,
    FinishTask,
    IssueIntent,
    Move,
    next_moves,
)
from loopwright.robot.coordinator.scheduling.schedule import Placed, Schedule
from loopwright.robot.journal import events as happened
from loopwright.robot.logic import Truth, conditions
from loopwright.robot.task import Step, TaskGraph

HOLDS = ("r1/arm", "r1/whole", "r2/arm", "r2/whole", "r3/base", "zone:aisle")
placements = st.builds(
    Placed,
    task=st.sampled_from(("t1", "t2", "t3", "gone")),
    step=st.sampled_from([f"{s}~{n}" for s in "abc" for n in range(3)]),
    robot=st.sampled_from((*ROBOTS, "nobody")),
    start_s=st.floats(0.0, 100.0),
    end_s=st.just(100.0),
    holds=st.frozensets(st.sampled_from(HOLDS)),
    running=st.booleans(),
)
placed_lists = st.lists(placements, max_size=8, unique_by=lambda p: p.key)


def with_schedule(history: History, placed: list[Placed], age_s: float = 0.0) -> list[Move]:
    plan = Schedule(made_s=history.time_s - age_s, placed=tuple(placed), proof="best-found")
    waited = history.waited_s
    return list(
        next_moves(history.state, history.facts, lambda _: waited, history.time_s, RULES, plan)
    )


@laws
@given(happenings, truths, st.sampled_from((0.0, 10.0, 100.0)), placed_lists)
def test_no_schedule_makes_anything_possible_or_brings_everything_to_a_halt(
    story: list[tuple[Callable[[History, int], None], int]],
    truth: list[Truth],
    waited_s: float,
    placed: list[Placed],
) -> None:
    history = begin(truth, waited_s)
    for happening, pick in story:
        happening(history, pick)
    greedy, chosen = history.moves(), with_schedule(history, placed)
    assert with_schedule(history, placed, RULES.fresh_s + 1.0) == greedy, "an old one is none"
    assert with_schedule(history, placed, -1.0) == greedy, "one of the future is none"
    for move in chosen:
        obeys(history, move)
    if not any(i.is_open for i in history.state.intents.values()):
        # Who is dealt with first may decide which task finds nobody free, and waits, and which
        # finds somebody who cannot, and is planned anew: but never that nothing happens.
        assert happens(chosen) == happens(greedy), "nothing waits for nothing"
    assert over(history, chosen) == over(history, greedy), "what is done is done"
    for move in chosen:
        history.make(move)
    nothing_is_held_twice(history.state)


@laws
@given(happenings, truths, placed_lists)
def test_whatever_the_schedule_every_task_ends(
    story: list[tuple[Callable[[History, int], None], int]],
    truth: list[Truth],
    placed: list[Placed],
) -> None:
    history = begin(truth, waited_s=10.0)
    for happening, pick in story:
        happening(history, pick)
    history.release(3)
    for pick, _ in enumerate(ROBOTS):
        history.join(pick)
        history.hold(2 * pick)
    for task in history.state.open_tasks:
        history.write(happened.TaskResumed(task=task.id, by="me"))
    for _ in range(60):
        for intent in [i.id for i in history.state.intents.values() if i.is_open]:
            history.end_one(intent, "succeeded", "finished")
        for move in with_schedule(history, placed):
            history.make(move)
            if isinstance(move, AskPlan):
                history.plan_for(history.state.tasks[move.task], history.count)
        nothing_is_held_twice(history.state)
    assert not history.state.open_tasks


def test_a_schedule_says_which_task_comes_first_and_which_robot() -> None:
    history = two_rings()
    assert moved(history.moves()) == [("t1", "a", "r1"), ("t2", "a", "r2")]
    placed = [put("t2", "a", "r1", 0.0), put("t1", "a", "r2", 0.0)]
    assert moved(with_schedule(history, placed)) == [("t2", "a", "r1"), ("t1", "a", "r2")]


def test_a_step_waits_for_the_robot_that_is_planned_for_it_but_not_for_ever() -> None:
    history = two_rings()
    history.make(history.moves()[0])  # t1 is on r1
    placed = [put("t2", "a", "r1", 5.0)]
    assert moved(with_schedule(history, placed)) == []
    history.waited_s = RULES.reserve_s + 1.0
    assert moved(with_schedule(history, placed)) == [("t2", "a", "r2")]


def test_a_robot_is_kept_for_a_more_urgent_step_that_comes_soon() -> None:
    history = two_rings(after=("b",))  # in t1, "a" waits for "b"
    history.make(history.moves()[0])  # "b" is on r1
    placed = [put("t1", "a", "r2", 5.0), put("t2", "a", "r2", 10.0)]
    assert moved(with_schedule(history, placed)) == []
    # With nobody at anything there is nothing to wait for.
    history.end(0)
    assert moved(with_schedule(history, placed)) == [("t1", "a", "r2")]


def test_what_was_replanned_since_is_not_waited_for() -> None:
    history = two_rings()
    history.make(history.moves()[0])
    placed = [put("t1", "a-of-an-older-graph", "r2", 0.0)]
    assert moved(with_schedule(history, placed)) == [("t2", "a", "r2")]


def test_a_robot_that_could_but_is_busy_is_waited_for() -> None:
    history = begin([True] * len(FACTS), 100.0)
    history.facts = dict.fromkeys(conditions_of("at(r1, hall)"), True).get  # only r1 stands there
    cross = Step(id="a", skill="cross", values={"place": "north"})
    plan(history, "t1", Step(id="a", skill="sweep", robot="r1"))
    history.ask(0)
    plan(history, "t2", cross)
    assert moved(history.moves()) == [("t1", "a", "r1")]
    history.advance()
    assert history.moves() == [], "no look, no other plan"
    history.end(0)
    assert moved(history.moves()) == [("t2", "a", "r1")]


def test_a_task_that_lost_its_robot_is_kept_while_it_may_come_back() -> None:
    history = two_rings(robot="r1")
    history.lose(0)
    keep = AskPlan("t1", "no robot at work can do ring", keep=True)
    assert history.moves() == [keep, AskPlan("t2", keep.reason, keep=True)]
    history.time_s += RULES.return_s
    assert history.moves()[0] == AskPlan("t1", keep.reason)


def test_an_attempt_cut_off_by_the_loss_of_its_robot_goes_on_when_it_is_back() -> None:
    history = begin([f.name != "rung" for f in FACTS], 0.0)
    plan(history, "t1", Step(id="a", skill="ring", values={"place": "north"}, robot="r1"))
    history.advance()
    history.lose(0)
    history.end_one(next(iter(history.state.intents)), "failed", "")
    assert history.moves() == [AskPlan("t1", "ring on r1: so", keep=True)]
    history.join(0)
    assert moved(history.moves()) == [("t1", "a", "r1")]


def test_when_plans_are_used_up_a_lost_robot_is_still_waited_for() -> None:
    history = two_rings(robot="r1")
    for _ in range(RULES.plans):
        history.plan_for(history.state.tasks["t1"], 6)
    history.lose(0)
    assert not [m for m in history.moves() if m.task == "t1"]  # type: ignore[union-attr]
    history.time_s += RULES.return_s
    assert isinstance(history.moves()[0], FinishTask)


def test_with_nobody_at_work_nothing_is_planned_while_somebody_may_come_back() -> None:
    history = begin([True] * len(FACTS), 0.0)
    history.ask(0)
    history.lose(0)
    history.lose(0)
    assert history.moves() == []
    history.time_s += RULES.return_s
    assert [type(m) for m in history.moves()] == [AskPlan, AskPlan]


def test_two_skills_that_name_only_a_place_do_not_share_a_robot() -> None:
    history = begin([True] * len(FACTS), 0.0)
    history.write(happened.RobotLost(robot="r2", reason="silent"))
    plan(history, "t1", Step(id="a", skill="patrol"), Step(id="b", skill="sweep"))
    assert moved(history.moves()) == [("t1", "a", "r1")]


def test_a_task_that_ends_after_its_deadline_says_so() -> None:
    history = begin([True] * len(FACTS), 0.0)
    history.write(happened.TaskAsked(task="t", trace="t", instruction="?", by="me", deadline_s=5.0))
    graph = TaskGraph(steps=(), goal=conditions("rung(north)"))
    history.write(happened.TaskPlanned(task="t", graph=graph.to_json(), planner="me"))
    history.time_s += 5.0
    assert FinishTask("t", "succeeded", "") in history.moves()
    history.time_s += 7.25
    assert FinishTask("t", "succeeded", "7.2 s after its deadline") in history.moves()


# Making of situations ----------------------------------------------------------------------------


def two_rings(robot: str | None = None, after: tuple[str, ...] = ()) -> History:
    """Two tasks, each of which rings the north bell with some robot."""
    history = begin([True] * len(FACTS), 0.0)
    ring = {"skill": "ring", "values": {"place": "north"}, "robot": robot}
    before = [Step(id=b, skill="ring", values={"place": "south"}) for b in after]
    plan(history, "t1", *before, Step(id="a", after=after, **ring))
    history.ask(0)
    plan(history, "t2", Step(id="a", **ring))
    return history


def plan(history: History, task: str, *steps: Step) -> None:
    newest = list(history.state.tasks)[-1] if task == "t2" else task
    graph = TaskGraph(steps=steps, goal=conditions("rung(north)"))
    history.write(happened.TaskPlanned(task=newest, graph=graph.to_json(), planner="me"))


def put(task: str, step: str, robot: str, start_s: float) -> Placed:
    holds = frozenset({f"{robot}/arm"})
    return Placed(
        task=task, step=step, robot=robot, start_s=start_s, end_s=start_s + 5.0, holds=holds
    )


def conditions_of(*facts: str) -> list[object]:
    return [c.fact for c in conditions(*facts)]


def issued(moves: list[Move]) -> list[IssueIntent]:
    return [m for m in moves if isinstance(m, IssueIntent)]


def over(history: History, moves: list[Move]) -> list[Move]:
    """Return what ends tasks that have no step left to begin."""
    done = {t.id for t in history.state.open_tasks if t.all_done or t.status == "cancelling"}
    return [m for m in moves if isinstance(m, FinishTask) and m.task in done]


def happens(moves: list[Move]) -> bool:
    return any(not isinstance(m, AskLook) for m in moves)


def moved(moves: list[Move]) -> list[tuple[str, str, str]]:
    assert not of_kind(moves, AskLook)
    return [(m.task, m.step.id, m.robot) for m in issued(moves)]


def of_kind(moves: list[Move], kind: type) -> list[Move]:
    return [m for m in moves if isinstance(m, kind)]
