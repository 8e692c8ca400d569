"""What to do next: a pure decision over the state of the fleet and what is known of the world.

Nothing here acts, waits or remembers. The same state, facts and time give the same moves, so the
whole behaviour, crashes included, can be tested without a robot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from loopwright.core.errors import InvalidConfig
from loopwright.robot.journal.fold import FleetState, IntentState, RobotState, TaskState
from loopwright.robot.logic import Facts, all_met, unmet
from loopwright.robot.skill import SkillContract, SkillError
from loopwright.robot.task import Outcome, Step, Value


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

    def __post_init__(self) -> None:
        """Refuse to try less than once."""
        if min(self.attempts, self.plans) < 1 or min(self.patience_s, self.grace_s) <= 0:
            raise InvalidConfig(f"these rules never try anything: {self}")


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
    state: FleetState, facts: Facts, unknown_for_s: UnknownSince, now_s: float, rules: Rules
) -> Iterator[Move]:
    """Yield what to do now, the oldest task first.

    Args:
        state: The fold of the journal.
        facts: What is known of the world, now.
        unknown_for_s: How long a question has been open.
        now_s: Wall clock.
        rules: How patient to be.
    """
    held = {r for intent in open_intents(state) for r in resources_of(intent)}
    for task in state.open_tasks:
        view = _View(state, task, facts, unknown_for_s, now_s, rules, held)
        yield from view.moves()


def open_intents(state: FleetState) -> tuple[IntentState, ...]:
    """Return all attempts that are not over."""
    return tuple(i for t in state.open_tasks for i in t.open_intents)


def resources_of(intent: IntentState) -> tuple[str, ...]:
    """Return what an open attempt holds; a robot runs one skill per part at a time."""
    return _resources(intent.contract, intent.robot, intent.values)


@dataclass(frozen=True, slots=True)
class _View:
    state: FleetState
    task: TaskState
    facts: Facts
    unknown_for_s: UnknownSince
    now_s: float
    rules: Rules
    held: set[str]

    def moves(self) -> Iterator[Move]:
        task = self.task
        if task.status == "cancelling":
            yield from self._cancelling()
            return
        yield from self._overdue()
        if self._all_stopped():
            return  # it waits for the release
        if task.status == "planning":
            yield AskPlan(task.id, "")
        elif task.status == "running":
            yield from self._running()

    def _all_stopped(self) -> bool:
        alive = [r.name for r in self.state.robots.values() if r.alive]
        return bool(alive) and all(self.state.is_stopped(name) for name in alive)

    def _cancelling(self) -> Iterator[Move]:
        if self.task.open_intents:
            for intent in self.task.open_intents:
                yield AskCancel(intent.id, "the task is cancelled")
            return
        goal = self._goal()
        done = sum(self.task.is_done(s.id) for s in self.task.graph.steps) if self.task.graph else 0
        total = len(self.task.graph.steps) if self.task.graph else 0
        yield FinishTask(
            self.task.id,
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

    def _running(self) -> Iterator[Move]:
        if self.task.all_done:
            # An attempt of an earlier graph may still run; nothing is over before it is.
            if not self.task.open_intents:
                yield from self._finish()
            return
        before = set(self.held)
        moves = [move for step in self.task.ready() for move in self._step(step)]
        # Another plan is made, or the task given up, only when nobody moves for this one.
        verdicts = [m for m in moves if isinstance(m, (AskPlan, FinishTask))]
        if not verdicts:
            yield from moves
            return
        # What is not issued holds nothing: other tasks may have it.
        self.held.intersection_update(before)
        if not self.task.open_intents:
            yield verdicts[0]

    def _finish(self) -> Iterator[Move]:
        goal = self._goal()
        graph = self.task.graph
        assert graph is not None
        if goal is True:
            yield FinishTask(self.task.id, "succeeded", "")
            return
        missing = ", ".join(str(c) for c in unmet(graph.goal, self.facts))
        if goal is False:
            yield self._another_plan(f"every step succeeded, yet not {missing}")
        elif not graph.goal:
            yield FinishTask(self.task.id, "unknown", "no goal was stated that could be observed")
        else:
            yield from self._wonder(f"goal {self.task.plans}", missing)

    def _step(self, step: Step) -> Iterator[Move]:
        attempts = self.task.attempts(step.id)
        if attempts and not self._worth_another(attempts, step):
            last = attempts[-1]
            yield self._another_plan(f"{step.skill} on {last.robot}: {last.reason}", last.outcome)
            return
        robots = [r for r in self.state.robots.values() if r.alive and _can(r, step)]
        if not robots:
            yield self._another_plan(f"no robot at work can do {step.skill}")
            return
        free = [r for r in robots if not self.state.is_stopped(r.name) and self._is_free(r, step)]
        if not free:
            return
        doubts: list[str] = []
        for robot in free:
            contract = robot.skills[step.skill].bound(robot.name, step.values)
            met = all_met(contract.requires, self.facts)
            if met is True:
                self.held.update(_resources(robot.skills[step.skill], robot.name, step.values))
                yield IssueIntent(self.task.id, step, robot.name)
                return
            doubts += [str(c) for c in unmet(contract.requires, self.facts)]
        yield from self._wonder(f"{step.id} requires", ", ".join(dict.fromkeys(doubts)))

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

    def _is_free(self, robot: RobotState, step: Step) -> bool:
        wanted = robot.skills[step.skill].bound(robot.name, step.values).resources
        own = [r for r in self.held if r.startswith(f"{robot.name}/")]
        if not wanted:
            return not own
        return not (set(wanted) & self.held) and f"{robot.name}/whole" not in self.held

    def _wonder(self, question: str, about: str) -> Iterator[Move]:
        """Look again; once patience is over, plan anew or say that it is not known."""
        if self.unknown_for_s(f"{self.task.id} {question}") < self.rules.patience_s:
            yield AskLook(self.task.id, (about,))
        else:
            yield self._another_plan(f"it does not hold, or cannot be seen: {about}", "unknown")

    def _another_plan(self, reason: str, otherwise: Outcome | None = "failed") -> Move:
        if self.task.plans < self.rules.plans:
            return AskPlan(self.task.id, reason)
        goal = self._goal()
        if goal is True:
            return FinishTask(self.task.id, "succeeded", f"the goal holds, although {reason}")
        outcome: Outcome = "failed" if goal is False else otherwise or "unknown"
        return FinishTask(self.task.id, outcome, reason)

    def _goal(self) -> bool | None:
        goal = self.task.graph.goal if self.task.graph else ()
        return all_met(goal, self.facts) if goal else None


def _can(robot: RobotState, step: Step) -> bool:
    contract = robot.skills.get(step.skill)
    return (
        contract is not None
        and contract.needs <= robot.parts
        and step.robot in (None, robot.name)
        and _takes(contract, step.values)
    )


def _takes(contract: SkillContract, values: Mapping[str, Value]) -> bool:
    """Tell whether a skill can be called like this; a graph may come from anybody."""
    try:
        contract.check(values)
    except SkillError:
        return False
    return True


def _resources(contract: SkillContract, robot: str, values: Mapping[str, Value]) -> tuple[str, ...]:
    return contract.bound(robot, values).resources or (f"{robot}/whole",)
