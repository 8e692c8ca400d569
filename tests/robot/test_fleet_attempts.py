"""Attempts found in what a fleet wrote down: the same ones in parts from a mark as all at once."""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopwright.robot.fleet import attempts as attempts_module
from loopwright.robot.fleet.attempts import Attempt, read_attempts
from loopwright.robot.fleet.mark import Mark
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.journal import Entry, Journal
from loopwright.robot.skills.tabletop import SKILLS
from loopwright.simulation.warehouse import worldlog
from loopwright.simulation.warehouse.model import RATE_HZ
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.simulation.warehouse.worldlog import MOMENT_EVERY_STEPS, WorldLogWriter

CONTRACTS = tuple(skill.contract.to_json() for skill in SKILLS)
LONG = 3 * MOMENT_EVERY_STEPS
"""Steps."""


class WrittenFleet:
    """A fleet that writes down what it does by a clock of its own, and does nothing."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1.8e9
        monkeypatch.setattr(time, "time", lambda: self.now_s)
        monkeypatch.setattr(attempts_module, "_CLOCK_S", 0.5)
        self.site, self.mark = FleetSite(folder), folder / "mark.json"
        self.journal, self.world = Journal(self.site.journal), Warehouse()
        self.random, self.worlds, self.tasks = np.random.default_rng(0), 0, 0
        self.begin()

    def begin(self) -> None:
        self.worlds += 1
        self.log = WorldLogWriter(self.site.worlds / f"{self.worlds:04d}.world")
        self.say(happened.CoordinatorStarted(epoch=self.worlds))
        for robot in ("arm-1", "duo-1"):
            self.say(
                happened.RobotJoined(robot=robot, epoch=self.worlds, parts=(), skills=CONTRACTS)
            )
        self.go(20)

    def say(self, *events: happened.Event) -> None:
        self.journal.append(events)

    def go(self, steps: int, *, moving: bool = False) -> None:
        for _ in range(steps):
            command = self.random.normal(0.0, 0.4, 8) if moving else None
            self.log.step(self.world, {"arm-1": command})
            self.now_s += 1.0 / RATE_HZ

    def ask(self) -> str:
        self.tasks += 1
        task = f"t-{self.tasks}"
        self.say(happened.TaskAsked(task=task, trace=task, instruction="fetch it", by="test"))
        return task

    def issue(self, task: str, intent: str) -> None:
        self.say(
            happened.IntentIssued(
                task=task,
                step="s1",
                intent=intent,
                robot="arm-1",
                epoch=1,
                skill="pick",
                values={"object": "red-cube", "surface": "table", "station": "bench"},
            )
        )

    def end(self, intent: str, task: str) -> None:
        self.journal.append(
            [happened.IntentEnded(intent=intent, outcome="failed", reason="", claim="finished")],
            task=task,
        )

    def finish(self, task: str) -> None:
        self.say(happened.TaskEnded(task=task, outcome="failed", reason=""))

    def do(self, steps: int = 30) -> str:
        """Carry one task out from its beginning to its end; returns its attempt."""
        task = self.ask()
        intent = f"i-{self.tasks}"
        self.issue(task, intent)
        self.go(steps, moving=True)
        self.end(intent, task)
        self.finish(task)
        self.go(60)
        return intent

    @contextmanager
    def running(self) -> Iterator[None]:
        with (self.site.folder / "fleet.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def new(self) -> list[Attempt]:
        with self.running():
            return list(read_attempts(self.site, self.mark))


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WrittenFleet:
    return WrittenFleet(tmp_path, monkeypatch)


def ids(found: list[Attempt]) -> list[str]:
    return [attempt.intent.id for attempt in found]


def content(attempt: Attempt) -> tuple[Any, ...]:
    """Return all that an episode is made of."""
    log, steps = attempt.log, range(attempt.begin, attempt.end)
    moment = max(step for step in log.moments if step <= attempt.begin)
    commands = [
        {name: c.tobytes() for name, c in at.items() if c is not None}
        for at in log.commands_at(moment, attempt.end)
    ]
    clocks = [(log.wall_at(step), log.monotonic_at(step)) for step in steps]
    return (
        attempt.intent,
        attempt.task.instruction,
        log.path,
        attempt.begin,
        attempt.end,
        attempt.censored,
        moment,
        log.moments[moment].tobytes(),
        commands,
        clocks,
    )


class ByChance:
    """What may happen to a fleet, in any order."""

    def __init__(self, fleet: WrittenFleet, seed: int) -> None:
        self.fleet, self.chance = fleet, random.Random(seed)
        self.open: dict[str, list[str]] = {}

    def act(self) -> None:
        acts = [self.issue, self.end, self.finish, self.restart, self.idle]
        self.chance.choices(acts, weights=[4, 4, 1, 0.5, 1])[0]()

    def issue(self) -> None:
        task = self.chance.choice([*self.open, self.fleet.ask()])
        intents = self.open.setdefault(task, [])
        if not intents:
            intents.append(f"i-{task}-{self.fleet.now_s}")
            self.fleet.issue(task, intents[-1])
        self.fleet.go(25, moving=True)

    def end(self) -> None:
        for task, intents in self.open.items():
            if intents and self.chance.random() < 0.5:
                self.fleet.end(intents.pop(), task)
        self.fleet.go(60)

    def finish(self) -> None:
        for task in [task for task, intents in self.open.items() if not intents]:
            self.fleet.finish(task)
            del self.open[task]

    def restart(self) -> None:
        for task, intents in self.open.items():
            while intents:
                self.fleet.end(intents.pop(), task)
        self.fleet.now_s += 30.0
        self.fleet.begin()

    def idle(self) -> None:
        self.fleet.go(self.chance.choice([30, LONG]))


@pytest.mark.parametrize("seed", range(4))
def test_read_in_parts_attempts_are_the_same_as_read_at_once(
    fleet: WrittenFleet, seed: int
) -> None:
    by_chance, found = ByChance(fleet, seed), []
    for number in range(150):
        by_chance.act()
        if number % 5 == 0:
            fleet.go(60)  # what follows a skill is part of its episode
            found += [content(a) for a in fleet.new()]
    fleet.go(60)
    found += [content(a) for a in fleet.new()]
    with fleet.running():
        whole = [content(a) for a in read_attempts(fleet.site)]
    assert len(whole) > 20
    assert fleet.worlds > 2
    assert sorted(found, key=lambda c: c[0].number) == sorted(whole, key=lambda c: c[0].number)
    assert len({c[0].id for c in found}) == len(found)
    assert fleet.new() == []


def test_after_a_task_only_what_is_new_is_read(
    fleet: WrittenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Entry] = []
    read_bytes: list[int] = []
    select, records = Journal._select, worldlog._records

    def selected(self: Journal, *args: Any, **kwargs: Any) -> Iterator[Entry]:
        for entry in select(self, *args, **kwargs):
            events.append(entry)
            yield entry

    def recorded(path: Path, data: bytes, first_byte: int) -> Iterator[Any]:
        read_bytes.append(len(data))
        return records(path, data, first_byte)

    monkeypatch.setattr(Journal, "_select", selected)
    monkeypatch.setattr(worldlog, "_records", recorded)
    costs: list[tuple[int, int]] = []
    for round_ in range(4):
        for _ in range(30 if round_ == 0 else 9):
            fleet.do()
            fleet.go(LONG // 3)
        events.clear()
        read_bytes.clear()
        assert len(fleet.new()) == (30 if round_ == 0 else 9)
        costs.append((len(events), sum(read_bytes)))
    (first_events, first_bytes), *later = costs
    for later_events, later_bytes in later:
        assert later_events < first_events / 2, "it does not grow with what is past"
        assert later_bytes < first_bytes / 2
    assert fleet.mark.stat().st_size < 1000


def test_in_memory_are_two_logs_however_many_there_are(
    fleet: WrittenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    read = attempts_module._Logs._read

    def reading(self: Any, *args: Any, **kwargs: Any) -> Any:
        log = read(self, *args, **kwargs)
        kept.append(len(self._kept))
        return log

    monkeypatch.setattr(attempts_module._Logs, "_read", reading)
    expected = []
    for _ in range(5):
        expected += [fleet.do(), fleet.do()]
        fleet.now_s += 60.0
        fleet.begin()
    assert ids(list(read_attempts(fleet.site))) == expected
    assert max(kept) <= 2


def test_who_dies_over_an_attempt_gets_it_again(fleet: WrittenFleet) -> None:
    first, second = fleet.do(), fleet.do()
    with fleet.running(), ExitStack() as stack:
        found = read_attempts(fleet.site, fleet.mark)
        stack.callback(found.close)  # type: ignore[attr-defined]
        assert [next(found).intent.id, next(found).intent.id] == [first, second]
    assert ids(fleet.new()) == [first, second]
    assert fleet.new() == []


def test_what_a_killed_fleet_left_open_is_found_once(fleet: WrittenFleet) -> None:
    done, task = fleet.do(), fleet.ask()
    fleet.issue(task, "i-open")
    fleet.go(40, moving=True)
    assert ids(fleet.new()) == [done], "a running fleet is still at the other"
    (cut,) = read_attempts(fleet.site, fleet.mark)
    assert (cut.intent.id, cut.censored) == ("i-open", "the fleet ended before the attempt did")
    fleet.now_s += 30.0
    fleet.begin()
    fleet.end("i-open", task)
    fleet.issue(task, "i-again")
    fleet.go(30, moving=True)
    fleet.end("i-again", task)
    fleet.go(60)
    assert ids(fleet.new()) == ["i-again"]
    fleet.finish(task)
    assert fleet.new() == []
    mark = Mark.read(fleet.mark)
    assert mark is not None
    assert (mark.tasks, mark.passed) == ((), ())


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"place": 3}', '{"number": 1}'])
def test_without_a_mark_that_can_be_read_all_is_read_again(
    fleet: WrittenFleet, damage: str
) -> None:
    intent = fleet.do()
    assert ids(fleet.new()) == [intent]
    fleet.mark.write_text(damage)
    assert ids(fleet.new()) == [intent]
    assert fleet.new() == []


def test_a_mark_is_of_one_journal(fleet: WrittenFleet) -> None:
    fleet.do()
    fleet.new()
    fleet.journal.close()
    for path in fleet.site.folder.glob("journal.db*"):
        path.unlink()
    fleet.journal = Journal(fleet.site.journal)
    fleet.begin()
    intent = fleet.do()
    assert ids(fleet.new()) == [intent]
