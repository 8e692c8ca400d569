"""Kill -9 of brain, robots and bus at random moments: is a task ever lost, doubled or lied about?

World, bus, coordinator and four robots are processes of their own. A stream of tasks ("bring the
red cube to the tray": two arms, a cart, two hand-overs) runs while processes get SIGKILL at random
moments, some SIGSTOP for three seconds, and are started again after a while. In the end the
journal, which is what was reported, is held against the world's own record of what truly happened.

Zenoh has no broker that could be killed, so here all robots reach the coordinator through one
relay of TCP bytes, and nothing introduces them to each other: without the relay nobody hears
anybody. That is the bus that gets killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from benchmarks.robot_faults_world import ARMS, OBJECTS, ROBOTS, SURFACES, Link
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import FleetState
from loopwright.robot.journal.journal import Entry, Journal
from loopwright.robot.logic import Condition
from loopwright.robot.wires.membership import enrol

SEED = 20261122
KILLS, QUICK_KILLS = 200, 10
BETWEEN_S = 1.2
"""On average, from the next order after a kill to the next kill ..."""
AT_ONCE_SHARE = 0.25
"""... but so many come without waiting for any order, while others are still away."""
LONGEST_WAIT_S = 30.0
STOPPED_SHARE, STOPPED_S = 0.12, 3.0
"""Besides the kills, so many processes in proportion are stopped, and for how long."""
AWAY_S = 2.0
"""A killed process is started again after at most so long ..."""
LONG_AWAY_SHARE, LONG_AWAY_S = 0.2, 8.0
"""... but of the robots some stay away for so long, so that others must do their work."""
AT_ONCE = 2
LAST_TASKS_S = 120.0
"""After the last kill, every task must have ended within this time."""


@dataclass
class Strike:
    """One kill, or one stop."""

    victim: str
    how: str
    """``"kill"`` or ``"stop"``."""
    time_s: float
    back_s: float
    """When it was started again, or went on."""
    open_intents: tuple[str, ...]
    """Attempts that were open at that moment."""


@dataclass
class Asked:
    """What became of asking for tasks."""

    answered: list[str] = field(default_factory=list)
    unanswered: int = 0
    """Whoever was asked died before it answered; the task may be in the journal or not."""


class Site:
    """The processes, and the folder that they share."""

    def __init__(self, folder: Path) -> None:
        """Prepare the folder; nothing runs yet."""
        self.folder = folder
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.away: set[str] = set()
        self.own_deaths: list[str] = []
        """Processes that ended although nobody killed them."""
        enrol(folder, "coordinator", "coordinator")
        enrol(folder, "robot", *ROBOTS)
        with socket.socket() as one, socket.socket() as other:
            for taken in (one, other):
                taken.bind(("127.0.0.1", 0))
            ports = {"bus": one.getsockname()[1], "coordinator": other.getsockname()[1]}
        (folder / "ports.json").write_text(json.dumps(ports))

    def start(self, name: str) -> None:
        """Start a process."""
        role = [name] if name not in ROBOTS else ["robot", name]
        command = [sys.executable, "-m", "benchmarks.robot_faults_roles", role[0]]
        with self._lock, (self.folder / "errors.txt").open("ab") as errors:
            self._running[name] = subprocess.Popen(
                [*command, str(self.folder), *role[1:]], stdin=subprocess.PIPE, stderr=errors
            )
            self.away.discard(name)

    def kill(self, name: str) -> None:
        """Kill a process, as hard as can be."""
        with self._lock:
            self.away.add(name)
            process = self._running.pop(name)
            if process.poll() is not None:
                self.own_deaths.append(f"{name}: {process.returncode}")
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def send(self, name: str, number: signal.Signals) -> None:
        """Send another signal."""
        with self._lock:
            (self.away.add if number == signal.SIGSTOP else self.away.discard)(name)
            self._running[name].send_signal(number)

    def revive(self) -> None:
        """Start whatever ended by itself."""
        with self._lock:
            dead = [n for n, p in self._running.items() if p.poll() is not None]
        for name in dead:
            with self._lock:
                self.own_deaths.append(f"{name}: {self._running[name].returncode}")
            self.start(name)

    def close(self) -> None:
        """Kill everything."""
        for name in list(self._running):
            self.kill(name)


class Witness:
    """Reads the journal as it grows, from outside."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self._journal, self.state = Journal(path), FleetState()
        self.entries: list[Entry] = []
        self._lock = threading.Lock()

    def read(self) -> FleetState:
        """Read on, and return what the journal amounts to."""
        with self._lock:
            for entry in self._journal.entries(since=self.state.number):
                self.state.apply(entry)
                self.entries.append(entry)
            return self.state


class Stream(threading.Thread):
    """Asks for one task after the other, each of another object than those under way."""

    def __init__(self, site: Site, witness: Witness, dice: random.Random) -> None:
        """Prepare; nothing is asked yet."""
        super().__init__(name="stream", daemon=True)
        self.asked, self.over = Asked(), threading.Event()
        self._site, self._witness, self._dice = site, witness, dice
        self._world = Link(site.folder / "world.sock")

    def run(self) -> None:
        while not self.over.wait(0.1):
            open_tasks = self._witness.read().open_tasks
            busy = {o for t in open_tasks for o in OBJECTS if o.replace("-", " ") in t.instruction}
            if len(open_tasks) < AT_ONCE and len(busy) < len(OBJECTS):
                self._ask(self._dice.choice(sorted(set(OBJECTS) - busy)))

    def _ask(self, thing: str) -> None:
        """Ask for a task whose goal is not there yet."""
        carrier = self._world.ask(kind="history", since=-1)[-1]["carrier"][thing]
        goal = self._dice.choice([s for s in SURFACES if s != carrier])
        instruction = f"bring the {thing.replace('-', ' ')} to the {goal}"
        link = None
        try:
            link = Link(self._site.folder / "coordinator.sock")
            self.asked.answered.append(link.ask(instruction=instruction))
        except OSError:
            self.asked.unanswered += link is not None
            self.over.wait(0.2)
        finally:
            if link:
                with suppress(OSError):
                    link.close()


def run(folder: Path, kills: int, dice: random.Random, say: Any) -> tuple[list[Strike], Any]:
    """Let tasks run, strike, and return what happened: strikes, journal, world and asks."""
    site = Site(folder)
    try:
        site.start("world")
        until(lambda: (folder / "world.sock").exists())
        for name in ("coordinator", "bus", *ROBOTS):
            site.start(name)
        until(lambda: (folder / "coordinator.sock").exists())
        witness = Witness(folder / "journal.db")
        until(lambda: len(witness.read().robots) == len(ROBOTS))
        stream = Stream(site, witness, dice)
        stream.start()
        strikes = strike_at_random(site, witness, kills, dice, say)
        stream.over.set()
        until_s = time.monotonic() + LAST_TASKS_S
        while witness.read().open_tasks and time.monotonic() < until_s:
            site.revive()
            time.sleep(0.2)
        stream.join(timeout=10.0)
        witness.read()
        history = Link(folder / "world.sock").ask(kind="history", since=0)
        return strikes, (witness, history, stream.asked, site.own_deaths)
    finally:
        site.close()


def strike_at_random(
    site: Site, witness: Witness, kills: int, dice: random.Random, say: Any
) -> list[Strike]:
    """Kill and stop processes while tasks are under way, and start them again."""
    strikes: list[Strike] = []
    timers: list[threading.Timer] = []
    killed = 0
    while killed < kills:
        if strikes and dice.random() > AT_ONCE_SHARE:
            wait_for_order(site, witness, strikes[-1].time_s)
        time.sleep(dice.expovariate(1 / BETWEEN_S))
        site.revive()
        victim = dice.choice(("coordinator", "bus", dice.choice(ROBOTS)))
        state = witness.read()
        if victim in site.away or not state.open_tasks:
            continue
        how = "stop" if dice.random() < STOPPED_SHARE else "kill"
        away_s = dice.uniform(0.0, AWAY_S)
        if how == "stop":
            away_s = STOPPED_S
        elif victim in ROBOTS and dice.random() < LONG_AWAY_SHARE:
            away_s = LONG_AWAY_S
        intents = tuple(i.id for t in state.open_tasks for i in t.open_intents)
        at_s = time.time()
        strikes.append(Strike(victim, how, at_s, at_s + away_s, intents))
        if how == "stop":
            site.send(victim, signal.SIGSTOP)
            timer = threading.Timer(away_s, site.send, (victim, signal.SIGCONT))
        else:
            site.kill(victim)
            killed += 1
            timer = threading.Timer(away_s, site.start, (victim,))
        timers.append(timer)
        timer.start()
        if how == "kill" and killed % 10 == 0:
            ended = sum(t.status == "ended" for t in state.tasks.values())
            say(f"{killed} kills, {ended} tasks ended")
    for timer in timers:
        timer.join()
    return strikes


def wait_for_order(site: Site, witness: Witness, since_s: float) -> None:
    """Wait until the fleet works again, as fast as the machine lets it."""
    until_s = time.monotonic() + LONGEST_WAIT_S
    while time.monotonic() < until_s:
        witness.read()
        if _first(reversed(witness.entries[-50:]), since_s, happened.IntentIssued):
            return
        site.revive()
        time.sleep(0.1)


def until(true: Any, within_s: float = 60.0) -> None:
    """Wait for something that must come about."""
    end_s = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end_s:
            raise RuntimeError("the fleet did not come up")
        time.sleep(0.05)


# The judge ---------------------------------------------------------------------------------------


class Truth:
    """What truly was, at any moment, by the world's own record."""

    def __init__(self, history: list[dict[str, Any]]) -> None:
        """Take the record."""
        self.history = history
        self._times_s = [note["time_s"] for note in history]

    def holds(self, wanted: Iterable[Condition], at_s: float) -> bool:
        """Tell whether conditions held at a moment, by the wall clock."""
        then = self.history[max(0, bisect_right(self._times_s, at_s) - 1)]
        return all(self._is_so(c, then) is c.holds for c in wanted)

    def notes(self, what: str) -> list[dict[str, Any]]:
        """Return the notes of one kind."""
        return [note for note in self.history if note["what"] == what]

    @staticmethod
    def _is_so(condition: Condition, then: Mapping[str, Any]) -> bool:
        name, args = condition.fact.name, condition.fact.args
        if name == "on":
            return then["carrier"][args[0]] == args[1]
        if name == "holding":
            return then["carrier"][args[1]] == args[0]
        if name == "free-hand":
            return args[0] not in then["carrier"].values()
        if name == "at":
            return {**SURFACES, **ARMS, **then["station"]}[args[0]] == args[1]
        raise NotImplementedError(name)


@dataclass
class Verdict:
    """What the judge counted."""

    counts: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    def wrong(self, what: str, about: object) -> None:
        """Count something, and keep the first few."""
        self.counts[what] += 1
        if self.counts[what] <= 3:
            self.examples.append(f"{what}: {about}")

    def took(self, what: str, seconds: float) -> None:
        """Keep a duration."""
        self.seconds.setdefault(what, []).append(seconds)


FALSE_SUCCESS = "tasks reported succeeded whose goal did not hold when that was reported"
FALSE_STEP = "attempts reported succeeded whose effects did not hold when that was reported"
DOUBLE = "attempts that were run twice"
DOUBLE_EFFECT = "attempts that took effect twice"
LOST = "tasks that somebody was told of and that the journal has not"
OPEN = "tasks that had not ended"
UNREASONED = "tasks that ended without success and without a reason"
AFTER_END = "attempts begun after they were reported over"
LATE = "effects after the attempt was reported over"
DISTURBED = "robots told to do two things at once"
NEEDLESS = "attempts at what was there already"
HARM = (FALSE_SUCCESS, FALSE_STEP, DOUBLE, DOUBLE_EFFECT, LOST, OPEN, UNREASONED, AFTER_END)


def judge(strikes: list[Strike], found: Any) -> Verdict:
    """Hold the journal against the world."""
    witness, history, asked, own_deaths = found
    verdict, truth, state = Verdict(), Truth(history), witness.state
    ended_s = {
        e.event.intent: e.time_s
        for e in witness.entries
        if isinstance(e.event, happened.IntentEnded)
    }
    judge_tasks(verdict, truth, witness)
    for task in set(asked.answered) - set(state.tasks):
        verdict.wrong(LOST, task)
    judge_runs(verdict, truth, state, ended_s)
    judge_attempts(verdict, truth, state, ended_s)
    for death in own_deaths:
        verdict.wrong("processes that ended by themselves", death)
    verdict.counts["asks without an answer"] = asked.unanswered
    time_recoveries(verdict, strikes, witness.entries)
    return verdict


def judge_tasks(verdict: Verdict, truth: Truth, witness: Witness) -> None:
    """Count how tasks ended, and what was not true about it."""
    at_s = {
        e.event.task: e.time_s for e in witness.entries if isinstance(e.event, happened.TaskEnded)
    }
    asked_s = {
        e.event.task: e.time_s for e in witness.entries if isinstance(e.event, happened.TaskAsked)
    }
    for task in witness.state.tasks.values():
        if task.status != "ended":
            verdict.wrong(OPEN, (task.id, task.instruction, task.status, task.intents[-1:]))
            continue
        verdict.outcomes["refused" if task.refused else str(task.outcome)] += 1
        verdict.took("asked to ended", at_s[task.id] - asked_s[task.id])
        goal = task.graph.goal if task.graph else ()
        if task.outcome == "succeeded":
            if not goal or not truth.holds(goal, at_s[task.id]):
                verdict.wrong(FALSE_SUCCESS, (task.id, task.instruction))
        else:
            verdict.reasons[task.reason] += 1
            if not task.reason:
                verdict.wrong(UNREASONED, task.id)
            if goal and truth.holds(goal, at_s[task.id]):
                verdict.wrong("goals that held and were not reported succeeded", task.reason)


def judge_runs(
    verdict: Verdict, truth: Truth, state: FleetState, ended_s: Mapping[str, float]
) -> None:
    """Count what was done twice, and what was done too late."""
    for kind, twice, late in (("run", DOUBLE, AFTER_END), ("effect", DOUBLE_EFFECT, LATE)):
        seen: set[str] = set()
        for note in truth.notes(kind):
            if note["intent"] in seen:
                verdict.wrong(twice, _told(state, note, ended_s))
            seen.add(note["intent"])
            if note["time_s"] > ended_s.get(note["intent"], float("inf")):
                verdict.wrong(late, _told(state, note, ended_s))
    for note in truth.notes("disturbed"):
        verdict.wrong(DISTURBED, (note["robot"], note["intent"], note["by"]))


def judge_attempts(
    verdict: Verdict, truth: Truth, state: FleetState, ended_s: Mapping[str, float]
) -> None:
    """Count how attempts ended, and those that were for nothing."""
    for intent in state.intents.values():
        verdict.counts["attempts"] += 1
        verdict.counts[f"attempts {intent.outcome}"] += 1
        ensures = intent.contract.bound(intent.robot, intent.values).ensures
        if intent.outcome == "succeeded" and not truth.holds(ensures, ended_s[intent.id]):
            verdict.wrong(FALSE_STEP, (intent.id, intent.skill, intent.values))
        if intent.outcome != "succeeded" and intent.outcome:
            verdict.reasons[f"  attempt: {intent.claim} {intent.reason}"] += 1
        if truth.holds(ensures, intent.issued_s):
            verdict.wrong(NEEDLESS, (intent.skill, dict(intent.values), intent.reason))


def _told(state: FleetState, note: Mapping[str, Any], ended_s: Mapping[str, float]) -> str:
    intent = state.intents[note["intent"]]
    late_s = note["time_s"] - ended_s[intent.id]
    return f"{intent.robot} {intent.skill}, {late_s:.2f} s after {intent.outcome}: {intent.reason}"


def time_recoveries(verdict: Verdict, strikes: list[Strike], entries: list[Entry]) -> None:
    """Measure how long it took to notice, and to go on."""
    for strike in strikes:
        if strike.how != "kill":
            continue
        others = [s for s in strikes if s is not strike]
        if strike.victim in ROBOTS:
            _time_robot(verdict, strike, others, entries)
        elif strike.victim == "coordinator":
            began = _first(entries, strike.back_s, happened.CoordinatorStarted)
            joined = _first(entries, strike.back_s, happened.RobotJoined)
            if began and not _disturbed(others, strike.time_s, began.time_s):
                verdict.took("coordinator: start of the process to taking over",
                             began.time_s - strike.back_s)  # fmt: skip
                if joined and not _disturbed(others, strike.time_s, joined.time_s):
                    verdict.took("coordinator: start of the process to the first robot",
                                 joined.time_s - strike.back_s)  # fmt: skip
        else:
            words = (happened.RobotJoined, happened.IntentStarted, happened.IntentEnded)
            after = min(
                (e for k in words if (e := _first(entries, strike.back_s, k))),
                key=lambda e: e.time_s,
                default=None,
            )
            if after and not _disturbed(others, strike.time_s, after.time_s):
                verdict.took(
                    "bus: start of the process to the first word of a robot",
                    after.time_s - strike.back_s,
                )


def _time_robot(
    verdict: Verdict, strike: Strike, others: list[Strike], entries: list[Entry]
) -> None:
    about = [e for e in entries if getattr(e.event, "robot", None) == strike.victim]
    lost = _first(about, strike.time_s, happened.RobotLost)
    joined = _first(about, strike.time_s, happened.RobotJoined)
    if lost and not (joined and joined.time_s < lost.time_s):
        if _disturbed(others, strike.time_s, lost.time_s):
            return
        verdict.took("robot: killed to reported lost", lost.time_s - strike.time_s)
    issued = [e for e in entries if isinstance(e.event, happened.IntentIssued)]
    for entry in issued:
        own = entry.event
        assert isinstance(own, happened.IntentIssued)
        if own.intent not in strike.open_intents or own.robot != strike.victim:
            continue
        later = [e for e in issued if e.event.task == own.task and e.time_s > strike.time_s]  # type: ignore[attr-defined]
        if later and not _disturbed(others, strike.time_s, later[0].time_s):
            who = "another" if later[0].event.robot != strike.victim else "the same"  # type: ignore[attr-defined]
            verdict.took(
                f"robot: killed at work to its task's next order, to {who} robot",
                later[0].time_s - strike.time_s,
            )


def _first(entries: Iterable[Entry], after_s: float, kind: type[happened.Event]) -> Entry | None:
    return next((e for e in entries if e.time_s >= after_s and isinstance(e.event, kind)), None)


def _disturbed(others: list[Strike], from_s: float, to_s: float) -> bool:
    """Tell whether coordinator or bus were away, or just back, meanwhile."""
    return any(
        s.victim not in ROBOTS and s.time_s < to_s and s.back_s + 2.0 > from_s for s in others
    )


def report(bench: Benchmark, strikes: list[Strike], verdict: Verdict) -> None:
    """Add what was counted."""
    tasks, attempts = sum(verdict.outcomes.values()), verdict.counts["attempts"]
    kills = sum(s.how == "kill" for s in strikes)
    bench.add(Measurement(metric="processes killed", value=kills, unit="SIGKILLs", n=kills))
    for what in HARM:
        n = attempts if "attempt" in what else tasks + verdict.counts[OPEN]
        bench.add(
            Measurement(metric=what, value=verdict.counts[what], unit="count", n=n, target="<= 0")
        )
    for outcome in ("succeeded", "failed", "unknown", "refused"):
        bench.add(
            Measurement(
                metric=f"tasks reported {outcome}",
                value=verdict.outcomes[outcome],
                unit="tasks",
                n=tasks,
            )
        )
    for what in (
        LATE,
        DISTURBED,
        NEEDLESS,
        "goals that held and were not reported succeeded",
        "processes that ended by themselves",
    ):
        bench.add(Measurement(metric=what, value=verdict.counts[what], unit="count", n=attempts))
    for what, seconds in sorted(verdict.seconds.items()):
        target = "<= 2.0" if "reported lost" in what else ""
        for name, level in (("p50", 50), ("p95", 95), ("worst", 100)):
            bench.add(
                Measurement(
                    metric=f"{what}, {name}",
                    value=float(np.percentile(seconds, level)),
                    unit="s",
                    n=len(seconds),
                    target=target,
                )
            )
    by_kind = Counter((s.how, "robot" if s.victim in ROBOTS else s.victim) for s in strikes)
    bench.note(
        "Strikes: " + ", ".join(f"{n} x {how} {who}" for (how, who), n in sorted(by_kind.items()))
        + f"; {sum(bool(s.open_intents) for s in strikes)} while a skill ran"
    )  # fmt: skip
    bench.note(
        f"{attempts} attempts, of which "
        + ", ".join(
            f"{verdict.counts[f'attempts {o}']} {o}" for o in ("succeeded", "failed", "unknown")
        )
        + f"; {verdict.counts['asks without an answer']} asks died with the coordinator"
    )
    bench.note(
        "The bus is a relay of TCP bytes through which alone robots and coordinator reach each "
        "other (Zenoh itself has no broker); peers are not introduced to each other."
    )
    bench.note("Times leave out kills while coordinator or bus were away or had just come back.")
    for reason, count in verdict.reasons.most_common(40):
        bench.details.append({"reason": reason, "count": count})
    for example in verdict.examples:
        bench.note(f"Example: {example}")


def main() -> None:
    with Benchmark(
        "robot_faults", "Kill -9 of brain, robots and bus during tasks", seeds=(SEED,)
    ) as bench:
        kills = QUICK_KILLS if bench.quick else KILLS
        kept = os.environ.get("KEEP")
        with tempfile.TemporaryDirectory(prefix="robot-faults-") as folder:
            place = Path(kept or folder)
            strikes, found = run(place, kills, random.Random(SEED), bench.say)
            verdict = judge(strikes, found)
        report(bench, strikes, verdict)


if __name__ == "__main__":
    main()
