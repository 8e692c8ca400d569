"""Written instructions through the default planner, judged by the simulator's own state.

::

    python -m benchmarks.instructions --plan-only     # seconds: plans played through in symbols
    python -m benchmarks.instructions                 # minutes: carried out by the whole fleet

The list (``instructions.json``) says of each instruction what a person would expect. Every row is
kept at once in ``--folder``; a run that was interrupted goes on after the last row. A row that the
guards stopped because a process came late is done again, twice at most, and counted.
"""

from __future__ import annotations

import json
import shutil
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import tyro

from benchmarks.harness import Benchmark, Measurement
from benchmarks.instructions_judge import (
    HARMLESS,
    Instruction,
    TrueWorld,
    Verdict,
    facts_of,
    judge,
    read_list,
)
from loopwright.core.errors import SafetyError
from loopwright.robot.brain.default import SymbolicBrain
from loopwright.robot.drivers.warehouse.things import things
from loopwright.robot.fleet.fleet import Fleet, run_fleet
from loopwright.robot.fleet.warehouse import skills_of, world_folder
from loopwright.robot.journal.fold import RobotState, TaskState
from loopwright.robot.knowledge import NoPlan, Problem
from loopwright.robot.logic import Fact, Facts, Symbols
from loopwright.robot.sighting import Sighting
from loopwright.robot.task import TaskGraph
from loopwright.safety.guard.signals import LineState
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.driver import WarehouseDriver
from loopwright.simulation.warehouse.model import arms_of
from loopwright.simulation.warehouse.physics import Warehouse

LISTS = ("first", "held_out")
LONGEST_S = 420.0
"""After so long an instruction is cancelled, which counts as a failure."""
TRIES = 3
SETTLE_S = 1.0
LOOK_EVERY_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What became of one instruction."""

    id: str
    list: str
    kinds: tuple[str, ...]
    text: str
    expected: str
    planned: tuple[str, ...]
    executed: tuple[str, ...]
    """Attempts with their outcomes."""
    reported: str
    reason: str
    missing: str
    """What the world lacks of the expected; empty if nothing."""
    verdict: Verdict
    seconds: float
    plans: int = 1
    bases_apart_m: float | None = None
    """The least distance between the middles of the two mobile robots."""
    overloads: int = 0
    """How often guards stopped it, mostly because the machine was too slow; it was done again."""
    earlier: str = ""
    """What became of it before it was done again on purpose (``--again``)."""


# Stage one: plans ---------------------------------------------------------------------------------


class OneState:
    """A memory that believes one state and is sure of it."""

    def __init__(self, state: Symbols) -> None:
        """Keep it."""
        self._state = state

    def take(self, sightings: Iterable[Sighting]) -> None:
        """Take nothing in."""

    def facts(self, *, since_s: float | None = None) -> Facts:
        """Return who can say what holds."""
        return self._state

    def symbols(self) -> Symbols:
        """Return what holds."""
        return self._state


@cache
def start_of_the_scene() -> tuple[frozenset[Fact], Symbols]:
    """Return what is true in a new scene: for the judge, and in all symbols of the planner."""
    world = Warehouse()
    drivers = {name: WarehouseDriver(name) for name in layout.ROBOTS if arms_of(name)}
    states = {name: robot.state(0.0) for name, robot in world.robots.items()}
    true = facts_of(world.scene(0.0), states, drivers)
    standing = {
        Fact("at", (name, station))
        for name, surface in layout.SURFACES.items()
        for station, (centre_m, _) in layout.STATIONS.items()
        if sum((a - b) ** 2 for a, b in zip(surface.centre_m, centre_m, strict=True))
        < layout.STATION_RADIUS_M**2
    }
    clear = {Fact("clear", (name,)) for name in (*layout.SURFACES, "cart-1")}
    free = {Fact("free-hand", (name,)) for name in drivers}
    return true, Symbols(true | standing | clear | free)


def robots_at_work() -> dict[str, RobotState]:
    """Return the robots of the warehouse with their skills."""
    return {
        name: RobotState(
            name=name,
            epoch=1,
            parts=frozenset(layout.PARTS[name]),
            skills={c.name: c for c in skills_of(name).contracts},
        )
        for name in layout.ROBOTS
    }


def end_of(graph: TaskGraph, robots: Mapping[str, RobotState], start: Symbols) -> Symbols:
    """Return the state once every step has had its effects."""
    for identity in graph.order():
        step = graph.step(identity)
        contract = robots[step.robot or ""].skills[step.skill]
        start = start.after(contract.bound(step.robot or "", step.values).ensures)
    return start


def plan_row(instruction: Instruction, name: str) -> Row:
    """Plan one instruction in a new scene, and judge where its plan would end."""
    before, start = start_of_the_scene()
    robots = robots_at_work()
    problem = Problem(instruction=instruction.text, goal=(), robots=robots, memory=OneState(start))
    began_s = time.process_time()
    graph, reason = None, ""
    try:
        graph = SymbolicBrain(things()).plan(problem)
    except NoPlan as error:
        reason = f"{type(error).__name__}: {error}"
    after = end_of(graph, robots, start).true if graph else start.true
    missing = instruction.missing(before, after)
    acting = {step.robot for step in graph.steps} if graph else set()
    if graph and len(acting) < instruction.robots:
        missing = f"{missing}, {instruction.robots} robots".lstrip(", ")
    verdict = judge(
        instruction,
        refused=graph is None,
        reason=reason,
        claimed=graph is not None,
        moved=bool(graph and graph.steps),
        missing=missing,
    )
    return Row(
        id=instruction.id,
        list=name,
        kinds=instruction.kinds,
        text=instruction.text,
        expected=instruction.expected,
        planned=_steps(graph),
        executed=(),
        reported="planned" if graph else "refused",
        reason=reason,
        missing=missing if not instruction.refuse else "",
        verdict="wrong plan" if verdict == "false success" else verdict,
        seconds=round(time.process_time() - began_s, 2),
    )


def _steps(graph: TaskGraph | None) -> tuple[str, ...]:
    if graph is None:
        return ()
    return tuple(
        f"{s.id} {s.robot}: {s.skill} {' '.join(map(str, s.values.values()))}"
        + (f" after {' '.join(s.after)}" if s.after else "")
        for s in graph.steps
    )


# Stage two: the fleet -----------------------------------------------------------------------------


class Watch:
    """Looks at the true world while robots work."""

    def __init__(self, world: TrueWorld) -> None:
        """Begin to look."""
        self.bases_apart_m = world.bases_apart_m()
        self._world, self._ended = world, threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        """Look until the block ends."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self.bases_apart_m = min(self.bases_apart_m, self._world.bases_apart_m())


class Overloaded(Exception):
    """The guards stopped everything because the machine was too slow."""


def carry_out(fleet: Fleet, world: TrueWorld, instruction: Instruction, name: str) -> Row:
    """Have an instruction carried out, and judge the world before and after.

    Raises:
        Overloaded: The guards stopped the robots.
    """
    before = world.facts()
    began_s = time.monotonic()
    with Watch(world) as watch:
        task = _done(fleet, instruction.text)
    seconds = time.monotonic() - began_s
    time.sleep(SETTLE_S)
    after = world.facts()
    missing = instruction.missing(before, after)
    moved = bool(task.intents) or before != after
    verdict = judge(
        instruction,
        refused=task.refused,
        reason=task.reason,
        claimed=task.outcome == "succeeded",
        moved=moved,
        missing=missing,
    )
    return Row(
        id=instruction.id,
        list=name,
        kinds=instruction.kinds,
        text=instruction.text,
        expected=instruction.expected,
        planned=_steps(task.graph),
        executed=tuple(
            f"{i.robot}: {i.skill} {i.outcome} {i.reason}".strip() for i in task.intents
        ),
        reported="refused" if task.refused else str(task.outcome),
        reason=task.reason,
        missing=missing if not instruction.refuse else "",
        verdict=verdict,
        seconds=round(seconds, 1),
        plans=task.plans,
        bases_apart_m=round(watch.bases_apart_m, 3),
    )


def _done(fleet: Fleet, text: str) -> TaskState:
    """Wait for the end of a task; robots that may not move any more end it too."""
    task = fleet.coordinator.ask(text, by="judge")
    until_s = time.monotonic() + LONGEST_S
    while True:
        state = fleet.coordinator.wait(task, timeout_s=0.5)
        line = fleet.cell.line()
        if line is None or line.state is LineState.DOWN:
            stop = fleet.cell.stop()
            raise Overloaded(f"{stop.robot}: {stop.reason} {stop.detail}" if stop else "?")
        if state.status == "ended" or fleet.coordinator.failure:
            return state
        if time.monotonic() > until_s:
            fleet.coordinator.cancel(task, by="judge")


class Session:
    """Carries lists out with as few fleets as do, and keeps every row."""

    def __init__(self, folder: Path, bench: Benchmark, again: tuple[str, ...] = ()) -> None:
        """Go on with the rows in a folder, except those to be done again."""
        self._folder, self._bench = folder, bench
        self._kept = folder / "rows.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        lines = self._kept.read_text().splitlines() if self._kept.exists() else []
        rows = [Row(**json.loads(line)) for line in lines]
        self._earlier = {r.id: f"{r.verdict}: {r.reason}" for r in rows if r.id in again}
        self.rows = [row for row in rows if row.id not in again]
        self.fleets = 0
        self.overloads: Counter[str] = Counter()
        self.stops: list[str] = []

    def run(self, lists: tuple[str, ...]) -> None:
        """Carry out what has no row yet."""
        done = {row.id for row in self.rows}
        left = [(i, name) for name in lists for i in read_list(name) if i.id not in done]
        while left:
            left = self._with_one_fleet(left)

    def _with_one_fleet(self, left: list[tuple[Instruction, str]]) -> list[tuple[Instruction, str]]:
        """Start a fleet in a new scene; return what is left when it must be a new one."""
        folder = self._folder / "fleet"
        shutil.rmtree(folder, ignore_errors=True)
        self.fleets += 1
        try:
            with run_fleet(folder) as fleet:
                return self._work(fleet, left)
        except SafetyError as error:
            self._stopped(left[0][0], str(error))
            return left if self.overloads[left[0][0].id] < TRIES else self._given_up(left)

    def _work(
        self, fleet: Fleet, left: list[tuple[Instruction, str]]
    ) -> list[tuple[Instruction, str]]:
        world = TrueWorld(world_folder(fleet.site))
        for place, (instruction, name) in enumerate(left):
            if place and instruction.fresh:
                return left[place:]
            try:
                row = carry_out(fleet, world, instruction, name)
            except Overloaded as error:
                self._stopped(instruction, str(error))
                rest = left[place:]
                return rest if self.overloads[instruction.id] < TRIES else self._given_up(rest)
            self._keep(row)
            if row.verdict != "right" and row.executed:
                return left[place + 1 :]  # what went wrong shall not spoil the next
        return []

    def _stopped(self, instruction: Instruction, reason: str) -> None:
        self.overloads[instruction.id] += 1
        self.stops.append(f"{instruction.id}: {reason}")
        self._bench.say(f"stopped: {instruction.id}: {reason}")

    def _given_up(self, left: list[tuple[Instruction, str]]) -> list[tuple[Instruction, str]]:
        (instruction, name), *rest = left
        self._keep(
            Row(
                id=instruction.id,
                list=name,
                kinds=instruction.kinds,
                text=instruction.text,
                expected=instruction.expected,
                planned=(),
                executed=(),
                reported="stopped",
                reason=self.stops[-1],
                missing="",
                verdict="stopped by overload",
                seconds=0.0,
            )
        )
        return rest

    def _keep(self, row: Row) -> None:
        overloads, earlier = self.overloads[row.id], self._earlier.get(row.id, "")
        self.rows.append(replace(row, overloads=overloads, earlier=earlier))
        lines = [json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in self.rows]
        self._kept.write_text("".join(lines))
        self._bench.say(f"{row.verdict:16} {row.seconds:6.1f} s  {row.text}  {row.missing}")


# The report ---------------------------------------------------------------------------------------


def report(bench: Benchmark, rows: Iterable[Row], name: str, what: str) -> None:
    """Add the figures of one list."""
    mine = [row for row in rows if row.list == name]
    judged = [row for row in mine if row.verdict != "stopped by overload"]
    if not judged:
        return
    count = Counter(row.verdict for row in judged)
    n, said = len(judged), name.replace("_", "-")
    bench.add(
        Measurement(metric=f"{said} list: right {what}", value=count["right"], unit=f"of {n}", n=n)
    )
    for verdict in ("false success", "wrongly obeyed", "wrong plan"):
        if verdict in count or verdict != "wrong plan":
            bench.add(
                Measurement(
                    metric=f"{said} list: {verdict}",
                    value=count[verdict],
                    unit=f"of {n}",
                    n=n,
                    target="<= 0",
                )
            )
    for verdict in (*HARMLESS, "true, not known"):
        if count[verdict]:
            metric = f"{said} list: {verdict}"
            bench.add(Measurement(metric=metric, value=count[verdict], unit=f"of {n}", n=n))
    if late := sum(row.overloads for row in mine):
        metric = f"{said} list: stops by guards, done again"
        bench.add(Measurement(metric=metric, value=late, unit="stops", n=None))
    if again := sum(bool(row.earlier) for row in mine):
        metric = f"{said} list: done again for another reason, see the notes"
        bench.add(Measurement(metric=metric, value=again, unit="instructions", n=None))
    acted = [row.seconds for row in judged if row.executed and row.verdict == "right"]
    if acted:
        bench.add(
            Measurement(
                metric=f"{said} list: an instruction that was carried out, median",
                value=statistics.median(acted),
                unit="s wall",
                n=len(acted),
            )
        )


def main(
    *,
    plan_only: bool = False,
    name: str = "instructions",
    folder: Path = Path("runs/instructions"),
    lists: tuple[str, ...] = LISTS,
    again: tuple[str, ...] = (),
) -> None:
    """Measure how instructions end.

    Args:
        plan_only: Only plan, without a fleet.
        name: Of the result file.
        folder: Where rows are kept, and the fleet works.
        lists: Of these lists of instructions.
        again: Rows that are kept, and done again nevertheless; their first end is told with them.
    """
    stage = "planned" if plan_only else "carried out"
    with Benchmark(name, f"Instructions in words, {stage}") as bench:
        if plan_only or bench.quick:
            rows = [plan_row(i, list_) for list_ in lists for i in read_list(list_)]
        else:
            session = Session(folder, bench, again)
            session.run(lists)
            rows = session.rows
            minutes = sum(row.seconds for row in rows) / 60
            bench.note(f"from word to end the instructions took {minutes:.0f} minutes in all")
            for row in rows:
                if row.earlier:
                    bench.note(f"{row.id} was done again; before, {row.earlier[:200]}")
        for list_ in lists:
            report(bench, rows, list_, stage)
        for row in rows:
            if row.verdict != "right":
                bench.say(f"{row.verdict}: {row.text!r}: {row.reason or row.missing}")
        bench.details = [asdict(row) for row in rows]


if __name__ == "__main__":
    tyro.cli(main)
