"""Many tasks compete for a few robots: what a schedule gains over taking the oldest task first.

Random fleets and tasks in simulated time. What is done is decided by the coordinator's own rules
(``moves.next_moves``) over its own state, with a schedule, without one, and with one that only
says what comes first and holds nothing back. A schedule is made as the coordinator makes it: from
the durations of earlier attempts, at most once a second, and it is there only after a while, when
the world has moved on. True durations vary around the expected ones; an attempt lasts the same
whoever decided that it is made.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from loopwright.robot.coordinator.moves import AskPlan, FinishTask, IssueIntent, Rules, next_moves
from loopwright.robot.coordinator.scheduling.durations import Durations
from loopwright.robot.coordinator.scheduling.foresight import (
    AT_LEAST_EVERY_S,
    AT_MOST_EVERY_S,
    is_worth_a_schedule,
)
from loopwright.robot.coordinator.scheduling.schedule import (
    Schedule,
    cost,
    in_greedy_order,
    schedule,
)
from loopwright.robot.coordinator.scheduling.situation import situation_of
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import FleetState, IntentState
from loopwright.robot.journal.journal import Entry
from loopwright.robot.logic import Condition, Fact, Symbols
from loopwright.robot.skill import Parameter, SkillContract
from loopwright.robot.task import Step, TaskGraph

SEED = 20261122
WITHIN_S = 0.5
THINKING_S = 0.3
"""Simulated time from the beginning of a search until its schedule is at hand."""
NOISE = 0.25
"""Standard deviation of the logarithm of true durations."""
HOLDINGS = (("arm",), ("arm", "surface:?place"), ("base", "zone:aisle"), ("base",), ())
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Asked:
    """One task of a problem."""

    name: str
    at_s: float
    graph: TaskGraph
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class Problem:
    """One fleet and what it is asked."""

    name: str
    skills: Mapping[str, tuple[SkillContract, ...]]
    """By robot."""
    usual_s: Mapping[tuple[str, str], float]
    """By robot and skill."""
    tasks: tuple[Asked, ...]

    def true_s(self, robot: str, skill: str, what: str) -> float:
        """Return how long an attempt lasts, the same in every arm."""
        dice = random.Random(f"{self.name} {robot} {skill} {what}")
        return self.usual_s[robot, skill] * dice.lognormvariate(-(NOISE**2) / 2, NOISE)


def problem_of(number: int) -> Problem:
    """Draw a problem: 2 to 6 robots, 3 to 8 tasks of 2 to 6 steps, deadlines for most."""
    dice = random.Random(f"{SEED} {number}")
    robots = [f"r{n}" for n in range(dice.randint(2, 6))]
    contracts = [_contract(dice, n) for n in range(dice.randint(3, 6))]
    skills: dict[str, tuple[SkillContract, ...]] = {}
    usual_s: dict[tuple[str, str], float] = {}
    bases_s = {c.name: dice.uniform(4.0, 30.0) for c in contracts}
    able: dict[str, list[str]] = {
        c.name: sorted(dice.sample(robots, dice.randint(1, len(robots)))) for c in contracts
    }
    for robot in robots:
        skills[robot] = tuple(c for c in contracts if robot in able[c.name])
        pace = dice.uniform(0.6, 1.6)
        for contract in skills[robot]:
            usual_s[robot, contract.name] = pace * bases_s[contract.name]
    tasks, at_s = [], 0.0
    for n in range(dice.randint(3, 8)):
        graph, longest_s = _graph(dice, contracts, able, bases_s)
        deadline_s = dice.uniform(1.0, 3.0) * longest_s if dice.random() < 0.7 else None
        tasks.append(Asked(f"t{n}", at_s, graph, deadline_s))
        at_s += dice.choice((0.0, dice.expovariate(1 / 15.0)))
    return Problem(f"{SEED} {number}", skills, usual_s, tuple(tasks))


def _contract(dice: random.Random, number: int) -> SkillContract:
    return SkillContract(
        name=f"skill-{number}",
        parameters=(Parameter(name="place", kind="place"),),
        ensures=(Condition(Fact("done", ("?place",))),),
        resources=dice.choice(HOLDINGS),
        longest_s=600.0,
    )


def _graph(
    dice: random.Random,
    contracts: Sequence[SkillContract],
    able: Mapping[str, list[str]],
    bases_s: Mapping[str, float],
) -> tuple[TaskGraph, float]:
    """Draw a graph, and return it with the duration of its longest path."""
    steps: list[Step] = []
    ends_s: dict[str, float] = {}
    for n in range(dice.randint(2, 6)):
        skill = dice.choice(contracts).name
        after = tuple(s.id for s in steps[-2:] if dice.random() < 0.6)
        robot = dice.choice(able[skill]) if dice.random() < 0.4 else None
        place = f"place-{dice.randint(0, 2)}"
        step = Step(id=f"s{n}", skill=skill, values={"place": place}, robot=robot, after=after)
        steps.append(step)
        ends_s[step.id] = bases_s[skill] + max((ends_s[a] for a in after), default=0.0)
    return TaskGraph(steps=tuple(steps)), max(ends_s.values())


@dataclass
class Run:
    """One problem in simulated time, under one way to decide."""

    problem: Problem
    rules: Rules
    durations: Durations | None
    """None: no schedule is made."""
    state: FleetState = field(default_factory=FleetState)
    now_s: float = 0.0
    ends_s: dict[str, float] = field(default_factory=dict)
    cpu_ms: list[float] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    worse: int = 0
    """Schedules that cost more than the greedy order."""

    def __post_init__(self) -> None:
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count(1)
        self._asked_s: dict[str, float] = {}
        self._schedule: Schedule | None = None
        self._searching, self._searched_s, self._number = False, -math.inf, -1
        for robot, contracts in self.problem.skills.items():
            parts = ("arm", "base")
            plain = tuple(c.to_json() for c in contracts)
            self._write(happened.RobotJoined(robot=robot, epoch=1, parts=parts, skills=plain))
        for asked in self.problem.tasks:
            self._at(asked.at_s, lambda asked=asked: self._ask(asked))

    def run(self) -> Run:
        """Let everything happen."""
        while self._queue:
            self.now_s, _, act = heapq.heappop(self._queue)
            act()
            while self._queue and self._queue[0][0] <= self.now_s:
                heapq.heappop(self._queue)[2]()
            self._advance()
            self._look_ahead()
        assert not self.state.open_tasks, f"{self.problem.name} never ends"
        return self

    def _at(self, time_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (time_s, next(self._count), act))

    def _write(self, event: happened.Event) -> None:
        number = self.state.number + 1
        self.state.apply(
            Entry(number=number, time_s=self.now_s, task=None, cause=None, event=event)
        )

    def _ask(self, asked: Asked) -> None:
        self._write(
            happened.TaskAsked(
                task=asked.name, trace="", instruction="", by="", deadline_s=asked.deadline_s
            )
        )
        graph = asked.graph.to_json()
        self._write(happened.TaskPlanned(task=asked.name, graph=graph, planner=""))

    def _advance(self) -> None:
        while True:
            before, asked = self.state.number, set[str]()

            def waited_s(question: str, asked: set[str] = asked) -> float:
                asked.add(question)
                return self.now_s - self._asked_s.setdefault(question, self.now_s)

            for move in list(
                next_moves(self.state, _nothing, waited_s, self.now_s, self.rules, self._schedule)
            ):
                if isinstance(move, IssueIntent):
                    self._issue(move)
                elif isinstance(move, FinishTask):
                    self.ends_s[move.task] = self.now_s
                    self._write(
                        happened.TaskEnded(task=move.task, outcome=move.outcome, reason=move.reason)
                    )
                else:
                    assert not isinstance(move, AskPlan), move
            self._asked_s = {q: s for q, s in self._asked_s.items() if q in asked}
            if self.state.number == before:
                return

    def _issue(self, move: IssueIntent) -> None:
        intent, step = f"i{next(self._count)}", move.step
        self._write(
            happened.IntentIssued(
                task=move.task,
                step=step.id,
                intent=intent,
                robot=move.robot,
                epoch=1,
                skill=step.skill,
                values=dict(step.values),
            )
        )
        lasts_s = self.problem.true_s(move.robot, step.skill, f"{move.task} {step.id}")
        self._at(self.now_s + lasts_s, lambda: self._end(intent))

    def _end(self, intent: str) -> None:
        self._write(happened.IntentEnded(intent=intent, outcome="succeeded", reason=""))
        if self.durations:
            self.durations.learn(self.state.intents[intent])

    def _look_ahead(self) -> None:
        """Search for a schedule as often as the coordinator does."""
        if self.durations is None or self._searching or not self.state.open_tasks:
            return
        due_s = AT_MOST_EVERY_S if self.state.number != self._number else AT_LEAST_EVERY_S
        begin_s = max(self.now_s, self._searched_s + due_s)
        self._searching = True
        self._at(begin_s, self._search)

    def _search(self) -> None:
        self._number, self._searched_s = self.state.number, self.now_s
        if not is_worth_a_schedule(self.state):
            self._searching = False
            return
        assert self.durations
        began_s = time.thread_time()
        situation = situation_of(self.state, _nothing, _no_symbols, self.durations, self.now_s)
        found = schedule(situation, within_s=WITHIN_S)
        self.cpu_ms.append(1000 * (time.thread_time() - began_s))
        self.proofs.append(found.proof)
        greedy = cost(situation, in_greedy_order(situation))
        self.worse += cost(situation, found.placed) > greedy
        self._at(self.now_s + THINKING_S, lambda: self._deliver(found))

    def _deliver(self, found: Schedule) -> None:
        self._schedule, self._searching = found, False

    # What came of it -----------------------------------------------------------------------------

    @property
    def makespan_s(self) -> float:
        """When everything was over."""
        return max(self.ends_s.values())

    @property
    def flows_s(self) -> list[float]:
        """How long each task took since it was asked for."""
        return [self.ends_s[t.name] - t.at_s for t in self.problem.tasks]

    @property
    def lates_s(self) -> list[float]:
        """By how much each task with a deadline missed it; 0 where it did not."""
        return [
            max(0.0, flow_s - t.deadline_s)
            for t, flow_s in zip(self.problem.tasks, self.flows_s, strict=True)
            if t.deadline_s is not None
        ]


def _nothing(fact: Fact) -> None:
    return None


def _no_symbols() -> Symbols:
    return Symbols(frozenset())


def past_of(problem: Problem, attempts: int = 5) -> Durations:
    """Return what a fleet knows that has done everything a few times."""
    known = Durations()
    for (robot, skill), _ in problem.usual_s.items():
        contract = next(c for c in problem.skills[robot] if c.name == skill)
        for n in range(attempts):
            known.learn(
                IntentState(
                    id="", task="", step="", robot=robot, epoch=1, skill=skill,
                    values={"place": "elsewhere"}, issued_s=0.0, number=0, contract=contract,
                    outcome="succeeded", ended_s=problem.true_s(robot, skill, f"past {n}"),
                )
            )  # fmt: skip
    return known


def simulate(problem: Problem) -> dict[str, Run]:
    """Run a problem in every arm."""
    rules = Rules()
    return {
        "greedy": Run(problem, rules, None).run(),
        "schedule": Run(problem, rules, past_of(problem)).run(),
        "order only": Run(problem, replace(rules, reserve_s=0.0), past_of(problem)).run(),
    }


def interval(values: Callable[[np.ndarray], float], count: int) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of a number that is made of drawn problems."""
    dice = np.random.default_rng(SEED)
    found = [values(dice.integers(0, count, count)) for _ in range(DRAWS)]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def compare(bench: Benchmark, runs: list[dict[str, Run]], arm: str, *, judged: bool) -> None:
    """Add what an arm gains over the greedy order, problem by problem."""
    count = len(runs)
    everything = np.arange(count)

    def column(number: Callable[[Run], float], which: str) -> np.ndarray:
        return np.array([number(run[which]) for run in runs])

    def add(
        metric: str, ratio: Callable[[np.ndarray], float], unit: str, target: str, against: str
    ) -> None:
        bench.add(
            Measurement(
                metric=f"{arm}: {metric}", value=ratio(everything), unit=unit,
                interval=interval(ratio, count), n=count, compared_with=against,
                target=target if judged else "",
            )
        )  # fmt: skip

    for metric, number, target in (
        ("makespan, geometric mean of the ratio", lambda r: r.makespan_s, "<= 1.0"),
        (
            "time of a task, geometric mean of the ratio",
            lambda r: float(np.mean(r.flows_s)),
            "<= 1.0",
        ),
    ):
        logs = np.log(column(number, arm)) - np.log(column(number, "greedy"))
        add(
            metric, lambda pick, logs=logs: float(np.exp(logs[pick].mean())), "of greedy", target,
            "the oldest task first: 1",
        )  # fmt: skip
    for metric, number, target in (
        ("seconds late, all tasks", lambda r: sum(r.lates_s), "<= 0.75"),
        ("tasks late", lambda r: sum(late_s > 0.5 for late_s in r.lates_s), "<= 0.9"),
    ):
        ours, theirs = column(number, arm), column(number, "greedy")
        add(
            f"{metric}, ratio", lambda pick, a=ours, b=theirs: float(a[pick].sum() / b[pick].sum()),
            "of greedy", target, f"the oldest task first: {theirs.sum():,.0f}",
        )  # fmt: skip


def report(bench: Benchmark, runs: list[dict[str, Run]]) -> None:
    """Add everything that was measured."""
    compare(bench, runs, "schedule", judged=True)
    compare(bench, runs, "order only", judged=False)
    ours = [run["schedule"] for run in runs]
    cpu_ms = [ms for run in ours for ms in run.cpu_ms]
    proofs = [proof for run in ours for proof in run.proofs]
    for name, level, target in (("p50", 50, "<= 50"), ("p99", 99, "<= 600")):
        value = float(np.percentile(cpu_ms, level))
        bench.add(
            Measurement(
                metric=f"one schedule, {name}", value=value, unit="ms CPU", n=len(cpu_ms),
                target=target,
            )
        )  # fmt: skip
    bench.add(
        Measurement(
            metric="schedules proven optimal", value=proofs.count("optimal") / len(proofs),
            unit="share", n=len(proofs),
        )
    )  # fmt: skip
    bench.add(
        Measurement(
            metric="schedules that cost more than the greedy order",
            value=sum(run.worse for run in ours), unit="count", n=len(proofs), target="<= 0",
        )
    )  # fmt: skip
    for metric, number in (
        ("makespan", lambda run: run.makespan_s),
        ("seconds late", lambda run: sum(run.lates_s)),
    ):
        worse = sum(number(r["schedule"]) > 1.02 * number(r["greedy"]) + 0.5 for r in runs)
        better = sum(number(r["schedule"]) < 0.98 * number(r["greedy"]) - 0.5 for r in runs)
        bench.note(f"{metric}: better in {better}, worse in {worse} of {len(runs)} problems.")
    bench.note(
        f"True durations vary by {NOISE:.0%} around the expected ones; a schedule is at hand "
        f"{THINKING_S:g} s after it was begun; searches end after {WITHIN_S:g} s."
    )


def main() -> None:
    with Benchmark(
        "robot_schedule", "Schedules against taking the oldest task first", seeds=(SEED,)
    ) as bench:
        count = 40 if bench.quick else 200
        runs = [simulate(problem_of(n)) for n in bench.track(range(count), "problems")]
        report(bench, runs)


if __name__ == "__main__":
    main()
