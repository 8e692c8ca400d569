"""What to do next: a pure decision over the state of the fleet and what is known of the world.

Nothing here acts, waits or remembers. The same state, facts and time give the same moves, so the
whole behaviour, crashes included, can be tested without a robot. What may be done follows from
these alone; a schedule only says what of it is done first, by whom, and what had better wait.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from loopwright.core.errors import InvalidConfig
from loopwright.robot.coordinator.ability import can_do, clash, resources, resources_of
from loopwright.robot.coordinator.scheduling.schedule import Placed, Schedule
from loopwright.robot.journal.fold import FleetState, IntentState, RobotState, TaskState
from loopwright.robot.logic import Facts, all_met, unmet
from loopwright.robot.task import Outcome, Step


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How patient the coordinator is."""

    attempts: int = 2
    """How often a step is tried before the plan is given up."""
    plans: int = 3
    """How many graphs a task may have."""
    patience_s: float = 3.0
    """How long something unknown is looked at before it is called unknown."""
    grace_s: float = 2.0
    """How long after its longest duration a skill may take to stop."""
    return_s: float = 10.0
    """How long a lost robot may take to come back before a task that needs it is given up."""
    reserve_s: float = 30.0
    """How long a step that could begin may be held back for what a schedule has come first."""
    fresh_s: float = 10.0
    """A schedule older than this is none."""

    def __post_init__(self) -> None:
        """Refuse to try less than once, and to wait for less than no time."""
        if min(self.attempts, self.plans) < 1 or min(self.patience_s, self.grace_s) <= 0:
            raise InvalidConfig(f"these rules never try anything: {self}")
        if min(self.return_s, self.reserve_s, self.fresh_s) < 0:
            raise InvalidConfig(f"these rules wait for less than no time: {self}")


@dataclass(frozen=True, slots=True)
class IssueIntent:
    """Tell a robot to run a step."""

    task: str
    step: Step
    robot: str


@dataclass(frozen=True, slots=True)
class AskPlan:
    """Ask the brain for a graph, from how the world stands now."""

    task: str
    reason: str
    keep: bool = False
    """The task goes on without another graph: a robot that was lost may come back."""


@dataclass(frozen=True, slots=True)
class AskCancel:
    """Tell a robot to stop an attempt."""

    intent: str
    reason: str


@dataclass(frozen=True, slots=True)
class AskLook:
    """Have somebody look at what is not known."""

    task: str
    about: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FinishTask:
    """A task is over."""

    task: str
    outcome: Outcome
    reason: str
    cancelled: bool = False


Move = IssueIntent | AskPlan | AskCancel | AskLook | FinishTask

UnknownSince = Callable[[str], float]
"""Seconds for which something has been waited for, by a key; starts to count when first asked."""


def next_moves(
    state: FleetState,
    facts: Facts,
    unknown_for_s: UnknownSince,
    now_s: float,
    rules: Rules,
    schedule: Schedule | None = None,
) -> Iterator[Move]:
    """Yield what to do now, the oldest task first unless a schedule has it otherwise.

    Args:
        state: The fold of the journal.
        facts: What is known of the world, now.
        unknown_for_s: How long a question has been open.
        now_s: Wall clock.
        rules: How patient to be.
        schedule: What had better come first; no correctness depends on it, and an old one is none.
    """
    waits = _waits_for_robots(state, now_s, rules)
    views = [
        _View(state, task, facts, unknown_for_s, now_s, rules, waits) for task in state.open_tasks
    ]
    for view in views:
        yield from view.moves()
    is_fresh = schedule is not None and 0.0 <= now_s - schedule.made_s <= rules.fresh_s
    yield from _Dispatch(views, state, schedule if is_fresh else None).moves()


def _waits_for_robots(state: FleetState, now_s: float, rules: Rules) -> bool:
    """Tell whether nobody can move, and somebody may be able to again."""
    robots = state.robots.values()
    alive = [r for r in robots if r.alive]
    if not alive:
        return any(may_return(state, r, now_s, rules) for r in robots)
    return all(state.is_stopped(r.name) for r in alive)


def may_return(state: FleetState, robot: RobotState, now_s: float, rules: Rules) -> bool:
    """Tell whether a robot was lost so lately that it may come back.

    A coordinator that has only just begun cannot know yet who would have come back meanwhile.
    """
    if robot.alive or robot.lost_s is None:
        return False
    return 0.0 <= now_s - max(robot.lost_s, state.began_s) < rules.return_s


def open_intents(state: FleetState) -> tuple[IntentState, ...]:
    """Return all attempts that are not over."""
    return tuple(i for t in state.open_tasks for i in t.open_intents)


@dataclass(frozen=True, slots=True)
class _View:
    """One task, as it stands."""

    state: FleetState
    task: TaskState
    facts: Facts
    unknown_for_s: UnknownSince
    now_s: float
    rules: Rules
    waits: bool
    """Whether nobody can move, and somebody may be able to again."""

    def moves(self) -> Iterator[Move]:
        """Yield what is to be done for the task as a whole."""
        task = self.task
        if task.status == "cancelling":
            yield from self._cancelling()
            return
        yield from self._overdue()
        if self.waits:
            return
        if task.status == "planning":
            yield AskPlan(task.id, "")
        elif task.status == "running" and task.all_done and not task.open_intents:
            # An attempt of an earlier graph may still run; nothing is over before it is.
            yield from self._finish()

    def steps(self) -> tuple[Step, ...]:
        """Return the steps that could begin as far as the task is concerned."""
        if self.task.status != "running" or self.waits:
            return ()
        return self.task.ready()

    def prospect(self, step: Step, held: Collection[str]) -> _Prospect:
        """Return who could begin a step now, or what is to be done about it otherwise.

        Args:
            step: One of :meth:`steps`.
            held: Resources that are taken.
        """
        attempts = self.task.attempts(step.id)
        if attempts and (recovery := self._recovery(attempts, step, held)):
            return recovery
        if attempts and not self._worth_another(attempts, step):
            last = attempts[-1]
            return self._without(
                f"{step.skill} on {last.robot}: {last.reason}",
                self.state.robots[last.robot],
                otherwise=last.outcome,
            )
        capable = [r for r in self.state.robots.values() if can_do(r, step)]
        able = [r for r in capable if r.alive]
        if not able:
            return self._without(f"no robot at work can do {step.skill}", *capable)
        ready = [r for r in able if not self.state.is_stopped(r.name)]
        free = [r for r in ready if not clash(wanted(r, step), held)]
        if met := [r for r in free if self._doubts(r, step) is None]:
            return _Prospect(robots=tuple(met))
        busy = [r for r in ready if r not in free]
        if not free or any(self._doubts(r, step) is None for r in busy):
            return _Prospect()  # whoever can is at something else
        doubts = dict.fromkeys(d for r in free for d in self._doubts(r, step) or ())
        move = self._wonder(f"{step.id} requires", ", ".join(doubts))
        if isinstance(move, AskLook):
            return _Prospect(look=move)
        return _Prospect(verdict=move)

    def may_soon(self, robot: str, step: Step, held: Collection[str]) -> bool:
        """Tell whether a robot is at something else, and can do a step as far as is known."""
        found = self.state.robots.get(robot)
        return (
            found is not None
            and found.alive
            and not self.state.is_stopped(robot)
            and can_do(found, step)
            and clash(wanted(found, step), held)
        )

    def is_held_back(self, step: Step) -> bool:
        """Tell whether a step may still be held back; from now on the time counts."""
        return self.unknown_for_s(f"{self.task.id} {step.id} held back") < self.rules.reserve_s

    def _cancelling(self) -> Iterator[Move]:
        if self.task.open_intents:
            for intent in self.task.open_intents:
                yield AskCancel(intent.id, "the task is cancelled")
            return
        goal = self._goal()
        done = sum(self.task.is_done(s.id) for s in self.task.graph.steps) if self.task.graph else 0
        total = len(self.task.graph.steps) if self.task.graph else 0
        yield self._over(
            "succeeded" if goal and total else "failed",
            f"cancelled after {done} of {total} steps"
            + (", when its goal was reached already" if goal and total else ""),
            cancelled=True,
        )

    def _overdue(self) -> Iterator[Move]:
        for intent in self.task.open_intents:
            longest_s = intent.contract.longest_s
            if self.now_s - intent.issued_s > longest_s + self.rules.grace_s:
                yield AskCancel(intent.id, f"it took longer than {longest_s:g} s")

    def _finish(self) -> Iterator[Move]:
        goal = self._goal()
        graph = self.task.graph
        assert graph is not None
        if goal is True:
            yield self._over("succeeded", "")
            return
        missing = ", ".join(str(c) for c in unmet(graph.goal, self.facts))
        if goal is False:
            yield self._another_plan(f"every step succeeded, yet not {missing}")
        elif not graph.goal:
            yield self._over("unknown", "no goal was stated that could be observed")
        else:
            yield self._wonder(f"goal {self.task.plans}", missing)

    def _doubts(self, robot: RobotState, step: Step) -> tuple[str, ...] | None:
        """Return what a step requires of the world that is not known to hold; None if all does."""
        requires = robot.skills[step.skill].bound(robot.name, step.values).requires
        return tuple(str(c) for c in unmet(requires, self.facts)) or None

    def _recovery(
        self, attempts: tuple[IntentState, ...], step: Step, held: Collection[str]
    ) -> _Prospect | None:
        """Return what the last attempt's own skill says is worth trying when it failed.

        Each of them once after each attempt, in order, until one succeeds; then the step may be
        tried again. What the robot cannot do, or not now, is passed over.
        """
        last = attempts[-1]
        robot = self.state.robots[last.robot]
        if not robot.alive or self.state.is_stopped(robot.name):
            return None
        for name in last.contract.recovery:
            recovery = recovery_step(step, len(attempts), name, robot)
            if recovery is None:
                continue
            if tried := self.task.attempts(recovery.id):
                if tried[-1].outcome == "succeeded":
                    return None
                if tried[-1].is_open:
                    return _Prospect()
            elif clash(wanted(robot, recovery), held):
                return _Prospect()
            elif self._doubts(robot, recovery) is None:
                return _Prospect(robots=(robot,), instead=recovery)
        return None

    def _worth_another(self, attempts: tuple[IntentState, ...], step: Step) -> bool:
        """Tell whether a step that did not succeed may simply be tried again."""
        last = attempts[-1]
        contract = last.contract
        ensures = contract.bound(last.robot, last.values).ensures
        return (
            contract.repeatable
            # That somebody pressed stop is not the skill's fault.
            and sum(a.claim != "stopped" for a in attempts) < self.rules.attempts
            and bool(ensures)
            and all_met(ensures, self.facts) is False
            and self.state.robots[last.robot].alive
        )

    def _wonder(self, question: str, about: str) -> Move:
        """Look again; once patience is over, plan anew or say that it is not known."""
        if self.unknown_for_s(f"{self.task.id} {question}") < self.rules.patience_s:
            return AskLook(self.task.id, (about,))
        return self._another_plan(f"it does not hold, or cannot be seen: {about}", "unknown")

    def _without(
        self, reason: str, *robots: RobotState, otherwise: Outcome | None = "failed"
    ) -> _Prospect:
        """Do without some robots; if one was lost just now, that does not end the task yet."""
        if not any(may_return(self.state, r, self.now_s, self.rules) for r in robots):
            return _Prospect(verdict=self._another_plan(reason, otherwise))
        if self.task.plans < self.rules.plans:
            return _Prospect(verdict=AskPlan(self.task.id, reason, keep=True))
        return _Prospect()

    def _another_plan(self, reason: str, otherwise: Outcome | None = "failed") -> Move:
        if self.task.plans < self.rules.plans:
            return AskPlan(self.task.id, reason)
        goal = self._goal()
        if goal is True:
            return self._over("succeeded", f"the goal holds, although {reason}")
        outcome: Outcome = "failed" if goal is False else otherwise or "unknown"
        return self._over(outcome, reason)

    def _over(self, outcome: Outcome, reason: str, *, cancelled: bool = False) -> FinishTask:
        overdue_s = self.task.overdue_s(self.now_s)
        late = f"{overdue_s:.1f} s after its deadline" if overdue_s else ""
        said = "; ".join(part for part in (reason, late) if part)
        return FinishTask(self.task.id, outcome, said, cancelled)

    def _goal(self) -> bool | None:
        goal = self.task.graph.goal if self.task.graph else ()
        return all_met(goal, self.facts) if goal else None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Prospect:
    """What can come of a step now; nothing at all if it waits for whoever can do it."""

    robots: tuple[RobotState, ...] = ()
    """Who could begin it."""
    instead: Step | None = None
    """What the first of them begins before, to recover from a failed attempt."""
    look: AskLook | None = None
    verdict: Move | None = None
    """Another plan, or the end of the task."""


class _Dispatch:
    """Deals out robots and resources to the steps of all tasks."""

    def __init__(self, views: list[_View], state: FleetState, schedule: Schedule | None) -> None:
        self._views, self._schedule = views, schedule
        open_now = open_intents(state)
        self._held = {r for intent in open_now for r in resources_of(intent)}
        self._somebody_moves = bool(open_now)

    def moves(self) -> Iterator[Move]:
        """Yield what becomes of the steps that could begin."""
        verdicts: dict[str, Move] = {}
        while True:
            # Another plan is made, or the task given up, only when nobody moves for this one. Until
            # then nothing is issued for it either; what it would hold, other tasks may have.
            a_round = self._round(verdicts)
            if not a_round.verdicts:
                break
            verdicts |= a_round.verdicts
        for view in self._views:
            if view.task.id in verdicts and not view.task.open_intents:
                yield verdicts[view.task.id]
        yield from a_round.found

    def _round(self, without: Collection[str]) -> _Round:
        views = [view for view in self._views if view.task.id not in without]
        a_round = _Round(views, self._held, self._schedule)
        begins = any(isinstance(move, IssueIntent) for move in a_round.found)
        if a_round.is_held_back and not begins and not self._somebody_moves:
            # Nothing will happen that it would be worth to wait for.
            return _Round(views, self._held, self._schedule, patient=False)
        return a_round


class _Round:
    """One pass over all steps that could begin."""

    def __init__(
        self,
        views: list[_View],
        held: Collection[str],
        schedule: Schedule | None,
        *,
        patient: bool = True,
    ) -> None:
        self._held, self._reserved, self._patient = set(held), set[str](), patient
        self.found: list[Move] = []
        self.verdicts: dict[str, Move] = {}
        self.is_held_back = False
        for turn in _turns(views, schedule):
            if turn.can_begin:
                self._deal(turn.view, turn.step, turn.planned)
            elif turn.planned is not None:
                self._reserved |= turn.planned.holds

    def _deal(self, view: _View, step: Step, planned: Placed | None) -> None:
        prospect = view.prospect(step, self._held)
        if prospect.verdict is not None:
            self.verdicts.setdefault(view.task.id, prospect.verdict)
        elif prospect.look is not None:
            self.found.append(prospect.look)
        elif prospect.instead is not None:
            robot = prospect.robots[0]
            self._held |= wanted(robot, prospect.instead)
            self.found.append(IssueIntent(view.task.id, prospect.instead, robot.name))
        elif robot := self._chosen(view, step, prospect.robots, planned):
            self._held |= wanted(robot, step)
            self.found.append(IssueIntent(view.task.id, step, robot.name))
        elif planned is not None:
            self._reserved |= planned.holds

    def _chosen(
        self, view: _View, step: Step, robots: tuple[RobotState, ...], planned: Placed | None
    ) -> RobotState | None:
        """Return who begins a step, by the schedule if there is one; None to hold it back."""
        if planned is not None:
            robots = tuple(sorted(robots, key=lambda r: r.name != planned.robot))
        if not robots or not self._patient:
            return robots[0] if robots else None
        waits = planned is not None and view.may_soon(planned.robot, step, self._held)
        better = [r for r in robots if not clash(wanted(r, step), self._reserved)]
        if better and not waits:
            return better[0]
        if view.is_held_back(step):
            self.is_held_back = True
            return None
        return robots[0]


@dataclass(frozen=True, slots=True)
class _Turn:
    """When it is a step's turn to be dealt with."""

    view: _View
    step: Step
    planned: Placed | None
    can_begin: bool


def _turns(views: list[_View], schedule: Schedule | None) -> Iterator[_Turn]:
    """Yield the steps in the order in which they are dealt with.

    Without a schedule: those that could begin, by age of the task. With one: by when they should
    begin, among them those that cannot yet; what is not in it comes last.
    """
    ready = {(view.task.id, step.id): (view, step) for view in views for step in view.steps()}
    running = {view.task.id: view for view in views if view.task.status == "running"}
    for planned in schedule.placed if schedule else ():
        view = running.get(planned.task)
        if planned.key in ready:
            yield _Turn(*ready.pop(planned.key), planned, can_begin=True)
        elif view and (step := _waiting_step(view.task, planned.step)):
            yield _Turn(view, step, planned, can_begin=False)
    for view, step in ready.values():
        yield _Turn(view, step, None, can_begin=True)


def _waiting_step(task: TaskState, identity: str) -> Step | None:
    """Return a step of the present graph that has not begun; None if there is none."""
    steps = task.graph.steps if task.graph else ()
    if task.is_done(identity) or any(i.is_open for i in task.attempts(identity)):
        return None
    return next((s for s in steps if s.id == identity), None)


def wanted(robot: RobotState, step: Step) -> frozenset[str]:
    """Return what a step would hold if a robot that can do it did."""
    return resources(robot.skills[step.skill], robot.name, step.values)


def recovery_step(step: Step, attempt: int, skill: str, robot: RobotState) -> Step | None:
    """Return the step by which a robot recovers from an attempt; None if it cannot.

    Args:
        step: What failed; the skill takes the values that have the names of its parameters.
        attempt: Which attempt at it, from 1.
        skill: What is worth trying.
        robot: Who tried.
    """
    contract = robot.skills.get(skill)
    names = {p.name for p in contract.parameters} if contract else set()
    values = {name: value for name, value in step.values.items() if name in names}
    recovery = Step(id=f"{step.id}/{skill}/{attempt}", skill=skill, values=values, robot=robot.name)
    return recovery if can_do(robot, recovery) else None
