"""Laws of the coordinator's decisions, over whatever may have happened to a fleet before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.robot.coordinator.moves import (
    AskCancel,
    AskPlan,
    FinishTask,
    IssueIntent,
    Move,
    Rules,
    next_moves,
)
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import FleetState, IntentState, RobotState, TaskState, fold
from loopwright.robot.journal.journal import Entry
from loopwright.robot.logic import Condition, Fact, Truth, all_met, conditions
from loopwright.robot.skill import Parameter, SkillContract, SkillError
from loopwright.robot.task import Outcome, Step, TaskGraph

RULES = Rules(attempts=2, plans=3, patience_s=1.0, grace_s=1.0)
PLACE = Parameter(name="place", kind="place")
ROBOTS = ("r1", "r2", "r3")

RING = SkillContract(
    name="ring",
    parameters=(PLACE,),
    requires=conditions("powered(?place)"),
    ensures=conditions("rung(?place)"),
    resources=("arm",),
)
SKILLS = (
    RING,
    SkillContract(
        name="cross",
        parameters=(PLACE,),
        requires=conditions("at(?robot, hall)"),
        ensures=conditions("at(?robot, ?place)", "not at(?robot, hall)"),
        resources=("base", "zone:aisle"),
    ),
    SkillContract(name="sweep", ensures=conditions("swept(hall)")),  # takes the whole robot
    SkillContract(name="patrol", ensures=conditions("swept(hall)"), resources=("zone:aisle",)),
    SkillContract(name="shout", resources=("arm",), repeatable=False),  # ensures nothing
)
OTHER_RING = SkillContract(
    name="ring", version=2, parameters=(Parameter(name="bell", kind="place"),), resources=("arm",)
)
KITS = (SKILLS, SKILLS, (OTHER_RING,), ())
"""What a robot may come back with: mostly the same, once a changed skill, once nothing."""
PARTS = (("arm", "base"), ("arm", "base"), ("arm",), ())

FACTS = tuple(
    c.fact
    for c in conditions(
        "powered(north)",
        "powered(south)",
        "rung(north)",
        "rung(south)",
        "swept(hall)",
        *(f"at({r}, {place})" for r in ROBOTS for place in ("hall", "north")),
    )
)


def _ring(name: str, *after: str, robot: str | None = None, place: str = "north") -> Step:
    return Step(id=name, skill="ring", values={"place": place}, robot=robot, after=after)


GRAPHS = (
    TaskGraph(steps=(_ring("a"),), goal=conditions("rung(north)")),
    TaskGraph(
        steps=(_ring("a"), _ring("b", place="south"), Step(id="c", skill="sweep", after=("a",))),
        goal=conditions("rung(north)", "rung(south)", "swept(hall)"),
    ),
    TaskGraph(
        steps=(
            Step(id="a", skill="cross", values={"place": "north"}, robot="r1"),
            Step(id="b", skill="cross", values={"place": "north"}, robot="r2"),
            _ring("c", "a", robot="r1"),
        ),
        goal=conditions("rung(north)"),
    ),
    TaskGraph(steps=(Step(id="a", skill="shout"), Step(id="b", skill="sweep"))),  # no goal
    TaskGraph(steps=(), goal=conditions("swept(hall)")),
    # From somebody who does not know the skills.
    TaskGraph(steps=(Step(id="a", skill="ring", values={}), Step(id="b", skill="fly"))),
    TaskGraph(
        steps=(Step(id="a", skill="sweep", robot="r1"), _ring("b", robot="r1")),
        goal=conditions("rung(north)"),
    ),
    # Takes a place of the world, and so the whole robot.
    TaskGraph(
        steps=(Step(id="a", skill="patrol"), _ring("b"), Step(id="c", skill="sweep")),
        goal=conditions("rung(north)", "swept(hall)"),
    ),
)


@dataclass
class History:
    """A journal in the making: only what a coordinator could have written."""

    facts: Callable[[Fact], Truth]
    waited_s: float
    entries: list[Entry] = field(default_factory=list)
    state: FleetState = field(default_factory=FleetState)
    time_s: float = 1000.0
    count: int = 0

    def write(self, *events: happened.Event) -> None:
        for event in events:
            number = len(self.entries) + 1
            task = getattr(event, "task", None)
            entry = Entry(number=number, time_s=self.time_s, task=task, cause=None, event=event)
            self.entries.append(entry)
            self.state.apply(entry)

    def name(self, head: str) -> str:
        self.count += 1
        return f"{head}{self.count}"

    def moves(self) -> list[Move]:
        return list(next_moves(self.state, self.facts, lambda _: self.waited_s, self.time_s, RULES))

    # What may happen from outside; ``pick`` chooses among whatever it may happen to --------------

    def join(self, pick: int) -> None:
        name = ROBOTS[pick % 3]
        known = self.state.robots.get(name)
        kit = KITS[pick // 3 % len(KITS)]
        self.write(
            happened.RobotJoined(
                robot=name,
                epoch=known.epoch + 1 if known else 1,
                parts=PARTS[pick // 12 % len(PARTS)],
                skills=tuple(c.to_json() for c in kit),
            )
        )

    def lose(self, pick: int) -> None:
        if alive := [r.name for r in self.state.robots.values() if r.alive]:
            self.write(happened.RobotLost(robot=alive[pick % len(alive)], reason="silent"))

    def ask(self, pick: int) -> None:
        task = self.name("t")
        self.write(happened.TaskAsked(task=task, trace=task, instruction="?", by="me"))
        if pick % 4:
            self.plan_for(self.state.tasks[task], pick)

    def plan(self, pick: int) -> None:
        tasks = [t for t in self.state.open_tasks if t.status != "cancelling"]
        if tasks:
            self.plan_for(tasks[pick % len(tasks)], pick)

    def plan_for(self, task: TaskState, pick: int) -> None:
        graph = GRAPHS[pick % len(GRAPHS)]
        names = {s.id: f"{s.id}~{task.plans}" for s in graph.steps}
        plain = graph.to_json()
        for step in plain["steps"]:
            step["id"] = names[step["id"]]
            step["after"] = [names[a] for a in step["after"]]
        self.write(happened.TaskPlanned(task=task.id, graph=plain, planner="me"))

    def refuse(self, pick: int) -> None:
        tasks = [t for t in self.state.open_tasks if not t.open_intents]
        if tasks:
            task = tasks[pick % len(tasks)].id
            self.write(happened.TaskEnded(task=task, outcome="failed", reason="no plan"))

    def end(self, pick: int) -> None:
        intents = [i.id for i in self.state.intents.values() if i.is_open]
        outcomes: tuple[Outcome, ...] = ("succeeded", "failed", "unknown", "succeeded")
        claim = ("finished", "stopped", "")[pick % 3]
        if intents:
            self.end_one(intents[pick % len(intents)], outcomes[pick % 4], claim)

    def end_one(self, intent: str, outcome: Outcome, claim: str) -> None:
        self.write(happened.IntentEnded(intent=intent, outcome=outcome, reason="so", claim=claim))

    def task_event(self, pick: int) -> None:
        tasks = [t.id for t in self.state.open_tasks]
        kinds = (happened.CancelAsked, happened.TaskPaused, happened.TaskResumed)
        if tasks:
            self.write(kinds[pick % 3](task=tasks[pick // 3 % len(tasks)], by="me"))

    def stop(self, pick: int) -> None:
        self.write(happened.StopPressed(robot=(*ROBOTS, None)[pick % 4], by="me"))

    def hold(self, pick: int) -> None:
        reason = "its guard has latched" if pick % 2 else ""
        self.write(happened.RobotHeld(robot=ROBOTS[pick // 2 % 3], reason=reason))

    def release(self, pick: int) -> None:
        robot = (*ROBOTS, None)[pick % 4]
        self.write(happened.StopReleased(robot=robot, by="me", signature=""))

    def pass_time(self, pick: int) -> None:
        self.time_s += (0.1, 1.0, 100.0)[pick % 3]

    # What the coordinator does -----------------

    def advance(self, pick: int = 0) -> None:
        for move in self.moves():
            self.make(move)

    def make(self, move: Move) -> None:
        if isinstance(move, IssueIntent):
            self.write(
                happened.IntentIssued(
                    task=move.task,
                    step=move.step.id,
                    intent=self.name("i"),
                    robot=move.robot,
                    epoch=self.state.robots[move.robot].epoch,
                    skill=move.step.skill,
                    values=dict(move.step.values),
                )
            )
        elif isinstance(move, FinishTask):
            self.write(happened.TaskEnded(task=move.task, outcome=move.outcome, reason=move.reason))


HAPPENINGS = (
    History.advance,
    History.advance,
    History.advance,
    History.ask,
    History.join,
    History.end,
    History.end,
    History.plan,
    History.lose,
    History.refuse,
    History.task_event,
    History.stop,
    History.hold,
    History.release,
    History.pass_time,
)
happenings = st.lists(
    st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 47)), min_size=1, max_size=22
)
truths = st.lists(
    st.sampled_from((True, True, False, None)), min_size=len(FACTS), max_size=len(FACTS)
)
laws = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def begin(truth: Sequence[Truth], waited_s: float) -> History:
    """A fleet of two at work, with one task: what happens next is drawn."""
    history = History(dict(zip(FACTS, truth, strict=True)).get, waited_s)
    history.write(happened.CoordinatorStarted(epoch=1))
    history.join(0)
    history.join(1)
    history.ask(1)
    return history


@laws
@given(happenings, truths, st.sampled_from((0.0, 10.0)))
def test_no_decision_breaks_a_law(
    story: list[tuple[Callable[[History, int], None], int]], truth: list[Truth], waited_s: float
) -> None:
    history = begin(truth, waited_s)
    for happening, pick in story:
        happening(history, pick)
        moves = history.moves()
        assert moves == history.moves(), "the same state gives the same moves"
        for move in moves:
            obeys(history, move)
        nothing_waits_without_a_reason(history, moves)
        nothing_is_held_twice(history.state)
        open_now = [t for t in history.state.tasks.values() if t.status != "ended"]
        assert list(history.state.open_tasks) == open_now, "the oldest first, and no other"
    assert fold(history.entries) == history.state, "deciding changes nothing"


@laws
@given(happenings, truths)
def test_once_all_robots_are_well_every_task_ends(
    story: list[tuple[Callable[[History, int], None], int]], truth: list[Truth]
) -> None:
    history = begin(truth, waited_s=10.0)
    for happening, pick in story:
        happening(history, pick)
    history.release(3)
    for robot in (0, 1, 2):
        history.join(robot)
        history.hold(2 * robot)  # it may move again
    for task in history.state.open_tasks:
        history.write(happened.TaskResumed(task=task.id, by="me"))
    for _ in range(60):
        for intent in [i.id for i in history.state.intents.values() if i.is_open]:
            history.end_one(intent, "succeeded", "finished")
        moves = history.moves()
        for move in moves:
            obeys(history, move)
        for move in moves:
            history.make(move)
            if isinstance(move, AskPlan):
                history.plan_for(history.state.tasks[move.task], history.count)
        nothing_is_held_twice(history.state)
    assert not history.state.open_tasks
    assert all(t.reason or t.outcome == "succeeded" for t in history.state.tasks.values())


def test_a_robot_that_comes_back_without_its_skill_does_not_end_the_coordinator() -> None:
    history = begin([True] * len(FACTS), 0.0)
    history.plan_for(history.state.tasks["t1"], 0)
    history.advance()
    (intent,) = history.state.intents.values()
    history.join(ROBOTS.index(intent.robot) + 9)  # with an empty kit
    history.pass_time(2)
    assert history.moves() == [AskCancel(intent.id, "it took longer than 30 s")]


def test_a_coordinator_that_has_only_begun_waits_for_robots_that_were_lost_long_ago() -> None:
    history = begin([True] * len(FACTS), 0.0)
    history.plan_for(history.state.tasks["t1"], 0)
    for _ in ROBOTS:
        history.lose(0)
    history.pass_time(2)
    (given_up,) = history.moves()
    assert isinstance(given_up, AskPlan)
    assert not given_up.keep
    history.write(happened.CoordinatorStarted(epoch=2))
    assert history.moves() == []
    history.pass_time(2)
    assert history.moves() == [given_up]


def test_a_graph_that_calls_a_skill_wrongly_is_planned_anew() -> None:
    history = begin([True] * len(FACTS), 0.0)
    history.plan_for(history.state.tasks["t1"], 5)
    assert history.moves() == [AskPlan("t1", "no robot at work can do ring")]


def test_a_task_is_not_over_while_an_attempt_of_an_earlier_graph_runs() -> None:
    history = begin([True] * len(FACTS), 0.0)
    history.plan_for(history.state.tasks["t1"], 0)
    history.advance()
    history.plan_for(history.state.tasks["t1"], 4)  # nothing left to do
    assert history.moves() == []
    history.end(0)
    assert history.moves() == [FinishTask("t1", "succeeded", "")]


def test_a_task_without_a_goal_is_never_known_to_have_succeeded() -> None:
    history = begin([True] * len(FACTS), 0.0)
    graph = TaskGraph(steps=())
    history.write(happened.TaskPlanned(task="t1", graph=graph.to_json(), planner="me"))
    reason = "no goal was stated that could be observed"
    assert history.moves() == [FinishTask("t1", "unknown", reason)]


def test_the_first_word_on_an_attempt_stands() -> None:
    history = begin([True] * len(FACTS), 0.0)
    history.advance()
    intent = next(iter(history.state.intents))
    history.end_one(intent, "failed", "gave-up")
    history.end_one(intent, "succeeded", "finished")
    assert history.state.intents[intent].outcome == "failed"


def test_a_step_is_given_up_after_its_attempts_and_a_stop_is_none() -> None:
    history = begin([f.name != "rung" for f in FACTS], 0.0)
    history.plan_for(history.state.tasks["t1"], 0)
    for claim in ("stopped", "finished", "stopped", "finished"):
        history.advance()
        (intent,) = (i for i in history.state.intents.values() if i.is_open)
        history.end_one(intent.id, "failed", claim)
    assert history.moves() == [AskPlan("t1", f"ring on {intent.robot}: so")]


def test_what_a_stuck_task_did_not_take_is_free_for_the_next() -> None:
    history = begin([True] * len(FACTS), 0.0)
    graph = TaskGraph(steps=(_ring("a", robot="r1"), Step(id="b", skill="fly")))
    history.write(happened.TaskPlanned(task="t1", graph=graph.to_json(), planner="me"))
    history.ask(0)
    other = TaskGraph(steps=(_ring("a", robot="r1"),))
    history.write(happened.TaskPlanned(task="t2", graph=other.to_json(), planner="me"))
    assert [type(m) for m in history.moves()] == [AskPlan, IssueIntent]


def obeys(history: History, move: Move) -> None:
    """Hold one move against the laws."""
    state = history.state
    if isinstance(move, IssueIntent):
        robot, task = state.robots[move.robot], state.tasks[move.task]
        bound = robot.skills[move.step.skill].bound(robot.name, move.step.values)
        assert all_met(bound.requires, history.facts) is True
        assert robot.alive
        assert not state.stops.keys() & {None, robot.name}
        assert robot.name not in state.held
        assert task.status == "running"
        assert move.step in task.ready()
        attempts = [i for i in task.intents if i.step == move.step.id]
        assert not any(i.is_open for i in attempts), "one attempt at a time"
        assert sum(i.claim != "stopped" for i in attempts) < RULES.attempts
    elif isinstance(move, FinishTask):
        task = state.tasks[move.task]
        assert not task.open_intents, "nothing is over while somebody moves for it"
        assert move.reason or move.outcome == "succeeded"
        assert move.cancelled == (task.status == "cancelling")
        if move.outcome == "succeeded":
            assert task.graph is not None
            assert task.graph.goal
            assert all(c.truth(history.facts) is True for c in task.graph.goal)


def nothing_waits_without_a_reason(history: History, moves: list[Move]) -> None:
    """A task with nothing open gets a move, or is kept waiting by a pause, a stop or a resource.

    Or by a robot that was lost just now and may come back.
    """
    state = history.state
    alive = [r for r in state.robots.values() if r.alive]
    all_stopped = bool(alive) and all(state.is_stopped(r.name) for r in alive)
    moved = {m.task for m in moves if not isinstance(m, AskCancel)}
    issued = [m for m in moves if isinstance(m, IssueIntent)]
    busy = {r for i in state.intents.values() if i.is_open for r in holds(i)} | {
        r for m in issued for r in wants(state.robots[m.robot], m.step)
    }
    for task in state.open_tasks:
        if task.open_intents or task.id in moved or task.status == "paused" or all_stopped:
            continue
        assert task.status == "running" or not alive
        lost = {r.name for r in state.robots.values() if may_return(history, r)}
        if lost and (not alive or lost & {i.robot for i in task.intents}):
            continue
        capable = [(r, s) for s in task.ready() for r in state.robots.values() if can(r, s)]
        able = [(r, s) for r, s in capable if r.alive]
        assert able or any(r.name in lost for r, _ in capable)
        taken = [(r, s) for r, s in able if state.is_stopped(r.name) or clash(wants(r, s), busy)]
        soon = {s.id for r, s in taken if all_met(requires(r, s), history.facts) is True}
        for robot, step in able:
            assert (robot, step) in taken or step.id in soon, (
                f"{robot.name} could do {step.id} of {task.id}"
            )


def may_return(history: History, robot: RobotState) -> bool:
    """Tell whether a robot was lost so lately that it may come back."""
    lost_s = robot.lost_s
    return not robot.alive and lost_s is not None and history.time_s - lost_s < RULES.return_s


def requires(robot: RobotState, step: Step) -> tuple[Condition, ...]:
    """What must hold before a step begins."""
    return robot.skills[step.skill].bound(robot.name, step.values).requires


def nothing_is_held_twice(state: FleetState) -> None:
    """No two open attempts hold one resource, whatever has become of their tasks."""
    taken: set[str] = set()
    for intent in state.intents.values():
        if intent.is_open:
            assert not clash(holds(intent), taken)
            taken |= set(holds(intent))


def holds(intent: IntentState) -> tuple[str, ...]:
    """What an attempt keeps others from."""
    return with_robot(intent.contract.bound(intent.robot, intent.values).resources, intent.robot)


def wants(robot: RobotState, step: Step) -> tuple[str, ...]:
    """What a step would keep others from."""
    return with_robot(robot.skills[step.skill].bound(robot.name, step.values).resources, robot.name)


def with_robot(resources: tuple[str, ...], robot: str) -> tuple[str, ...]:
    """A skill that names no part of its robot takes all of it, whatever else it takes."""
    own = any(r.startswith(f"{robot}/") for r in resources)
    return resources if own else (*resources, f"{robot}/whole")


def clash(wanted: Sequence[str], taken: set[str]) -> bool:
    """Tell whether something wanted is taken; the whole of a robot is all of its parts."""
    return any(
        one == other
        or (one.endswith("/whole") and other.startswith(one.removesuffix("whole")))
        or (other.endswith("/whole") and one.startswith(other.removesuffix("whole")))
        for one in wanted
        for other in taken
    )


def can(robot: RobotState, step: Step) -> bool:
    """Tell whether a robot has what a step asks for."""
    contract = robot.skills.get(step.skill)
    if contract is None or not contract.needs <= robot.parts:
        return False
    try:
        contract.check(step.values)
    except SkillError:
        return False
    return step.robot in (None, robot.name)
