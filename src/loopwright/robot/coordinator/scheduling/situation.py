"""What there is to schedule: the unfinished steps of all open tasks, and who could do them.

Taken from the state of the fleet in the coordinator's thread; plain values, so that whoever works
on it does so beside that thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from loopwright.robot.coordinator.ability import can_do, held_by, resources_of
from loopwright.robot.coordinator.scheduling.durations import Durations
from loopwright.robot.journal.fold import FleetState, IntentState, RobotState, TaskState
from loopwright.robot.logic import Condition, Fact, Facts, Symbols
from loopwright.robot.skill import BoundContract, SkillContract
from loopwright.robot.task import Step, TaskGraph

AT = "at"
"""The predicate of where a robot stands."""
LEAST_REST = 0.1
"""Share of its expected duration that an attempt is given which takes longer than expected."""
AGE_S = 60.0
"""A task that waits gains the weight of a new one every so often, so that none waits for ever."""

JobKey = tuple[str, str]
"""Task and step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One robot that could do a step."""

    robot: str
    lasts_s: float
    """With the way there."""
    holds: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One unfinished step."""

    task: str
    step: str
    choices: tuple[Choice, ...]
    """In the order in which the greedy rule would take them; one, with what is left, if it runs."""
    after: tuple[str, ...] = ()
    """Unfinished steps of its task that it waits for."""
    running: bool = False
    due_s: float | None = None
    """Deadline, in seconds from now; negative when it has passed."""

    @property
    def key(self) -> JobKey:
        """What names it."""
        return self.task, self.step


@dataclass(frozen=True, kw_only=True, slots=True)
class Errand:
    """What a schedule must know of a task."""

    task: str
    due_s: float | None = None
    """Deadline, in seconds from now; negative when it has passed."""
    weight: int = 1
    """What a second of its time counts."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that a schedule depends on."""

    made_s: float
    """Wall clock of "now"."""
    errands: tuple[Errand, ...]
    """The oldest first."""
    jobs: tuple[Job, ...]
    """By task, in the order of its graph."""
    stuck: tuple[str, ...] = ()
    """Tasks with a step that nobody at work can do; what does not wait for it is scheduled."""

    @cached_property
    def by_key(self) -> Mapping[JobKey, Job]:
        """Jobs by what names them."""
        return {job.key: job for job in self.jobs}

    @property
    def leaves_a_choice(self) -> bool:
        """Whether schedules can differ: work of several tasks, or of several able robots."""
        waiting = [job for job in self.jobs if not job.running]
        return len({j.task for j in waiting}) > 1 or any(len(j.choices) > 1 for j in waiting)

    @property
    def has_deadlines(self) -> bool:
        """Whether something may come too late."""
        return any(e.due_s is not None for e in self.errands) or any(
            j.due_s is not None for j in self.jobs
        )


def situation_of(
    state: FleetState,
    facts: Facts,
    symbols: Callable[[], Symbols],
    durations: Durations,
    now_s: float,
) -> Situation:
    """Return what there is to schedule.

    Args:
        state: The fold of the journal.
        facts: What is known of the world.
        symbols: Returns all that is believed; called only where a robot must drive first.
        durations: How long skills take.
        now_s: Wall clock.
    """
    return _Survey(state, facts, symbols, durations, now_s).situation()


class _Survey:
    def __init__(
        self,
        state: FleetState,
        facts: Facts,
        symbols: Callable[[], Symbols],
        durations: Durations,
        now_s: float,
    ) -> None:
        self._state, self._facts, self._symbols = state, facts, symbols
        self._durations, self._now_s = durations, now_s
        self._robots = [
            r for r in state.robots.values() if r.alive and not state.is_stopped(r.name)
        ]

    def situation(self) -> Situation:
        errands, jobs, stuck = [], [], []
        for task in self._state.open_tasks:
            found = [self._running(intent) for intent in task.open_intents]
            if task.status == "running" and task.graph is not None:
                waiting, is_stuck = self._waiting(task, task.graph)
                found += waiting
                errands.append(self._errand(task))
                stuck += [task.id] if is_stuck else []
            jobs += found
        return Situation(
            made_s=self._now_s, errands=tuple(errands), jobs=tuple(jobs), stuck=tuple(stuck)
        )

    def _errand(self, task: TaskState) -> Errand:
        return Errand(
            task=task.id,
            due_s=None if task.due_s is None else task.due_s - self._now_s,
            weight=1 + int(max(0.0, self._now_s - task.asked_s) / AGE_S),
        )

    def _running(self, intent: IntentState) -> Job:
        expected_s = self._durations.expected_s(intent.robot, intent.contract, intent.values)
        rest_s = expected_s - (self._now_s - intent.issued_s)
        choice = Choice(
            robot=intent.robot,
            lasts_s=max(rest_s, LEAST_REST * expected_s),
            holds=resources_of(intent),
        )
        return Job(task=intent.task, step=intent.step, choices=(choice,), running=True)

    def _waiting(self, task: TaskState, graph: TaskGraph) -> tuple[list[Job], bool]:
        """Return jobs of steps that have not begun, and whether some can be done by nobody."""
        open_steps = {intent.step for intent in task.open_intents}
        left = {s.id for s in graph.steps if not task.is_done(s.id)}
        found: dict[str, Job] = {}
        for identity in graph.order():
            step = graph.step(identity)
            after = tuple(a for a in step.after if a in left)
            if identity not in left or identity in open_steps:
                continue
            choices = self._choices(step, _way_to(step, graph, left))
            if not choices or any(a not in found and a not in open_steps for a in after):
                continue
            found[identity] = Job(
                task=task.id,
                step=identity,
                choices=choices,
                after=after,
                due_s=None
                if step.deadline_s is None
                else task.asked_s + step.deadline_s - self._now_s,
            )
        ordered = [found[s.id] for s in graph.steps if s.id in found]
        return ordered, len(ordered) < len(left - open_steps)

    def _choices(self, step: Step, before: Sequence[Step]) -> tuple[Choice, ...]:
        near, far = [], []
        for robot in self._robots:
            if not can_do(robot, step):
                continue
            contract = robot.skills[step.skill]
            bound = contract.bound(robot.name, step.values)
            way_s = self._way_s(robot, bound, before)
            if way_s is None:
                continue
            choice = Choice(
                robot=robot.name,
                lasts_s=way_s + self._durations.expected_s(robot.name, contract, step.values),
                holds=held_by(bound, robot.name),
            )
            (far if way_s else near).append(choice)
        # Nobody is sent on a way that is no step, as long as somebody is there already.
        return tuple(near or far)

    def _way_s(
        self, robot: RobotState, wanted: BoundContract, before: Sequence[Step]
    ) -> float | None:
        """Return how long a robot needs to where a step is done; None if it cannot get there."""
        needed = _station(wanted.requires, robot)
        if needed is None:
            return 0.0
        led = [
            place
            for earlier in before
            if earlier.robot == robot.name and can_do(robot, earlier)
            for bound in (robot.skills[earlier.skill].bound(robot.name, earlier.values),)
            if (place := _station(bound.ensures, robot)) is not None
        ]
        if led[-1:] == [needed] or (
            not led and self._facts(Fact(AT, (robot.name, needed))) is not False
        ):
            return 0.0
        start = led[-1] if led else self._place_of(robot)
        return None if start is None else self._drive_s(robot, start, needed)

    def _place_of(self, robot: RobotState) -> str | None:
        true = self._symbols().true
        return next((f.args[1] for f in true if f.name == AT and f.args[0] == robot.name), None)

    def _drive_s(self, robot: RobotState, start: str, goal: str) -> float | None:
        for contract in robot.skills.values():
            if names := _drives(contract):
                values = {names[0]: start, names[1]: goal}
                return self._durations.expected_s(robot.name, contract, values)
        return None


def _way_to(step: Step, graph: TaskGraph, left: set[str]) -> list[Step]:
    """Return the unfinished steps that come before one, in an order that they can be done in."""
    before: set[str] = set()
    waiting = list(step.after)
    while waiting:
        identity = waiting.pop()
        if identity not in before:
            before.add(identity)
            waiting += graph.step(identity).after
    return [graph.step(i) for i in graph.order() if i in before and i in left]


def _station(wanted: Sequence[Condition], robot: RobotState) -> str | None:
    """Return the place that conditions want a robot to be at."""
    for condition in wanted:
        fact = condition.fact
        if condition.holds and fact.name == AT and fact.args[0] == robot.name:
            return fact.args[1]
    return None


def _drives(contract: SkillContract) -> tuple[str, str] | None:
    """Return the parameters from and to which a skill brings its robot, if that is all it takes."""

    def place(wanted: Sequence[Condition]) -> Iterator[str]:
        for condition in wanted:
            fact = condition.fact
            if condition.holds and fact.name == AT and fact.args[0] == "?robot":
                yield fact.args[1].removeprefix("?")

    found = (*place(contract.requires), *place(contract.ensures))
    names = {p.name for p in contract.parameters}
    return (found[0], found[1]) if len(found) == 2 and set(found) == names else None
