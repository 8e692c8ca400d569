"""Side by side with RoboOS 2.0: from a published task to its result, and what a death costs.

Both plan with the same stub of a model, which answers at once and counts, and both have skills that
do nothing but note when they ran. A client publishes errands over HTTP: to Loopwright with its
robots in one process, to Loopwright with every robot in a process of its own on Zenoh, and to
RoboOS with its processes, in turns, so that a busy minute of the machine falls on all alike. Ours
judges every skill by where the world memory says that the box is, and has written down and synced
what it orders before it orders it; RoboOS does neither.

::

    make bench NAME=robot_os                                       ours alone
    python -m benchmarks.robot_os --roboos ../RoboOS               both

What the checkout of RoboOS has to be is said at the head of ``benchmarks/robot_os_rival.py``.
Without it its rows are those of an earlier run, and called so.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from benchmarks.robot_os_model import Leg, Model, errand, stub_model
from benchmarks.robot_os_ours import BOX, LASTS, TABLES, OurFleet, our_fleet
from benchmarks.robot_os_rival import Rival, roboos
from loopwright.robot.coordinator.coordinator import SILENCE_S
from loopwright.robot.messages import LEASE_S

SEED = 20261122
ROBOTS = ("r1", "r2")
CHAINS = (1, 2, 4, 8)
LOCAL, ZENOH, GIVEN, ROBOOS = "one process", "a process a robot", "graph given", "RoboOS"
EARLIER = {
    "one skill": "162 ms (p50)",
    "further": "133 ms, 2 calls",
    "hand-off": "377 ms (p50)",
    "dead": "not within 75 s",
}
"""RoboOS as measured with the same procedure on an earlier day, on a busier machine."""
RIVAL_WATCHED_S = 75.0
REST_S = 0.6
"""RoboOS looks every 0.5 s whether its robots are free; before that it is not done with a task."""


@dataclass
class Timings:
    """What was measured of one system, in seconds."""

    single: list[float] = field(default_factory=list)
    chains: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    handoff: list[float] = field(default_factory=list)
    dispatch: list[float] = field(default_factory=list)
    """RoboOS only: from one robot's result to the next one's order, on Redis."""


def ways(start: str, robots: list[str]) -> list[Leg]:
    """Return legs to and fro, one for each robot named."""
    place = TABLES.index(start)
    return [(robot, TABLES[(place + n) % 2]) for n, robot in enumerate(robots, start=1)]


def graph_of(start: str, legs: list[Leg]) -> dict[str, object]:
    """Return legs as a graph that needs no planner."""
    steps = []
    for number, (robot, goal) in enumerate(legs):
        steps.append(
            {
                "id": f"s{number}",
                "robot": robot,
                "skill": "carry",
                "values": {"object": BOX, "start": start, "goal": goal},
                "after": [f"s{number - 1}"] if number else [],
            }
        )
        start = goal
    return {"goal": [f"on({BOX}, {start})"], "steps": steps}


Once = Callable[[list[str]], tuple[float, list[list[str]]]]
"""Has robots carry the box one after the other; returns the seconds and the notes of the skills."""


def ours_once(fleet: OurFleet, *, given: bool) -> Once:
    def once(robots: list[str]) -> tuple[float, list[list[str]]]:
        start = fleet.box_on()
        legs = ways(start, robots)
        began_s = time.monotonic()
        if given:
            ended_s = fleet.follow(graph_of(start, legs))
        else:
            ended_s = fleet.carry_out(errand(BOX, legs))
        return ended_s - began_s, fleet.skills()[-len(legs) :]

    return once


def rival_once(rival: Rival, timings: Timings) -> Once:
    def once(robots: list[str]) -> tuple[float, list[list[str]]]:
        began_s = time.monotonic()
        ended_s = rival.carry_out(errand(BOX, ways(TABLES[0], robots)), sorted(set(robots)))
        if len(set(robots)) > 1:
            (result_s,) = rival.heard("r1_to_RoboOS", since_s=began_s)
            (order_s,) = rival.heard("roboos_to_r2", since_s=began_s)
            timings.dispatch.append(order_s - result_s)
        notes = rival.skills()[-len(robots) :]
        rival.wait_until_idle()
        time.sleep(REST_S)
        return ended_s - began_s, notes

    return once


def measure(
    bench: Benchmark, model: Model, systems: dict[str, Once], timings: dict[str, Timings]
) -> None:
    """Let every system do every kind of errand, in turns."""
    singles, repeats, handoffs = (10, 3, 5) if bench.quick else (80, 15, 30)
    turns = [
        *[["r1"]] * singles,
        *[["r1"] * length for _ in range(repeats) for length in CHAINS],
        *[["r1", "r2"]] * handoffs,
    ]
    for name in systems:
        systems[name](["r1", "r2"])  # the first of everything is slow
    if ROBOOS in timings:
        timings[ROBOOS].dispatch.clear()
    for number, robots in enumerate(bench.track(turns, "errands")):
        for name, once in systems.items():
            before = model.calls
            took_s, notes = once(robots)
            found = timings[name]
            found.calls[len(robots)].append(model.calls - before)
            if number < singles:
                found.single.append(took_s)
            elif len(set(robots)) == 1:
                found.chains[len(robots)].append(took_s)
            else:
                found.handoff.append(float(notes[1][3]) - float(notes[0][4]))


@dataclass(frozen=True, kw_only=True)
class Death:
    """What one killed robot led to, in seconds from the kill on."""

    noticed_s: float
    taken_over_s: float
    """Until another robot was at its work."""


def kill_ours(fleet: OurFleet, *, at_work: bool) -> Death:
    """Kill a robot in its work, or before it is asked for some; see who does it, and when."""
    fleet.wait_for(*ROBOTS)
    goal = ways(fleet.box_on(), ["r1"])
    if at_work:
        (fleet.folder / LASTS).write_text("0.4")
        task = fleet.publish(errand(BOX, goal))
        time.sleep(0.2)
        killed_s = fleet.kill_robot("r1")
        (fleet.folder / LASTS).unlink()
    else:
        killed_s = fleet.kill_robot("r1")
        task = fleet.publish(errand(BOX, goal))
    while "r1" in fleet.at_work():
        time.sleep(0.01)
    noticed_s = time.monotonic() - killed_s
    fleet.ended(task)
    who, *_, began_s, _ = fleet.skills()[-1]
    assert who == "r2", f"{who} did what was to be done after r1's death"
    fleet.start_robot("r1")
    return Death(noticed_s=noticed_s, taken_over_s=float(began_s) - killed_s)


def kill_rival(rival: Rival, watch_s: float) -> tuple[bool, bool]:
    """Kill a robot of RoboOS and publish work; tell whether it was noticed, and others did it."""
    before = len(rival.skills())
    rival.kill_robot("r1")
    rival.publish(errand(BOX, ways(TABLES[0], ["r1", "r2"])))
    until_s = time.monotonic() + watch_s
    noticed = False
    while time.monotonic() < until_s and not noticed:
        time.sleep(0.2)
        noticed = "r1" not in rival.listed()
    return noticed, len(rival.skills()) > before


def interval(values: list[float], statistic: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """Return a 95 % bootstrap interval."""
    rows = np.asarray(values)
    dice = np.random.default_rng(SEED)
    found = [statistic(rows[dice.integers(0, len(rows), len(rows))]) for _ in range(500)]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def slope_ms(chains: np.ndarray) -> float:
    """Return milliseconds a further skill: the slope over lengths of the median of each."""
    return float(np.polyfit(CHAINS, np.median(chains, axis=0), 1)[0])


def report(bench: Benchmark, timings: dict[str, Timings]) -> None:
    """Add what was measured, ours against RoboOS's."""
    rival = timings.get(ROBOOS)
    rows = {name: np.array([t.chains[n] for n in CHAINS]).T * 1e3 for name, t in timings.items()}
    theirs = {f"{key}": f"{ROBOOS} earlier: {value}" for key, value in EARLIER.items()}
    if rival:
        theirs["one skill"] = f"{ROBOOS} {median_ms(rival.single):.0f} ms"
        theirs["further"] = f"{ROBOOS} {slope_ms(rows[ROBOOS]):.0f} ms"
        theirs["hand-off"] = f"{ROBOOS} {median_ms(rival.handoff):.0f} ms"
    for name, found in timings.items():
        own = name != ROBOOS
        quantile_rows(bench, f"{name}: publish to result, one skill", found.single, own, theirs, 25)
        further = [list(row) for row in rows[name]]
        bench.add(
            Measurement(
                metric=f"{name}: each further skill",
                value=slope_ms(rows[name]),
                unit="ms",
                interval=interval(further, slope_ms),  # pyright: ignore[reportArgumentType]
                n=len(further) * len(CHAINS),
                compared_with=theirs["further"] if own else "",
                target="< 15" if own else "",
            )
        )
        handoff_rows(bench, name, found, own, theirs)
        for length in (1, max(CHAINS)):
            bench.add(
                Measurement(
                    metric=f"{name}: model calls, task of {length} skill{'s' * (length > 1)}",
                    value=float(np.mean(found.calls[length])),
                    unit="calls",
                    n=len(found.calls[length]),
                    target="<= 1" if own else "",
                )
            )
        bench.details.append(
            {
                "system": name,
                "single_ms": [round(1e3 * s, 2) for s in found.single],
                "chains_ms": {n: [round(1e3 * s, 2) for s in found.chains[n]] for n in CHAINS},
                "handoff_ms": [round(1e3 * s, 2) for s in found.handoff],
                "calls": {n: sorted(set(calls)) for n, calls in found.calls.items()},
            }
        )


def median_ms(values: list[float]) -> float:
    return 1e3 * float(np.median(values))


def quantile_rows(
    bench: Benchmark,
    metric: str,
    values: list[float],
    own: bool,
    theirs: dict[str, str],
    limit_ms: float,
) -> None:
    """Add median and 95 % of some seconds."""
    found = [1e3 * v for v in values]
    bench.add(
        Measurement(
            metric=f"{metric}, p50",
            value=float(np.median(found)),
            unit="ms",
            interval=interval(found, lambda rows: float(np.median(rows))),
            n=len(found),
            compared_with=theirs["one skill"] if own else "",
            target=f"< {limit_ms:g}" if own else "",
        )
    )
    high = float(np.quantile(found, 0.95))
    bench.add(Measurement(metric=f"{metric}, p95", value=high, unit="ms", n=len(found)))


def handoff_rows(
    bench: Benchmark, name: str, found: Timings, own: bool, theirs: dict[str, str]
) -> None:
    """Add the gap between the end of one robot's skill and the begin of the next one's."""
    gaps = [1e3 * s for s in found.handoff]
    bench.add(
        Measurement(
            metric=f"{name}: hand-off, end of a skill to begin of another robot's, p50",
            value=float(np.median(gaps)),
            unit="ms",
            interval=interval(gaps, lambda rows: float(np.median(rows))),
            n=len(gaps),
            compared_with=theirs["hand-off"] if own else "",
            target="< 10" if own else "",
        )
    )
    if found.dispatch:
        waits = [1e3 * s for s in found.dispatch]
        bench.add(
            Measurement(
                metric=f"{name}: a robot's result to the next one's order, p50",
                value=float(np.median(waits)),
                unit="ms",
                n=len(waits),
            )
        )


def report_deaths(bench: Benchmark, title: str, deaths: list[Death], theirs: str) -> None:
    """Add how long a death went unnoticed, at worst."""
    for metric, values, target in (
        ("noticed", [d.noticed_s for d in deaths], "< 2"),
        ("another robot at its work", [d.taken_over_s for d in deaths], ""),
    ):
        bench.add(
            Measurement(
                metric=f"{ZENOH}: killed {title}, {metric}, longest",
                value=max(values),
                unit="s",
                interval=(min(values), max(values)),
                n=len(values),
                compared_with=theirs,
                target=target,
            )
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--roboos", type=Path, help="a checkout of RoboOS, prepared")
    given = parser.parse_args()
    with (
        Benchmark("robot_os", "Side by side with RoboOS 2.0", seeds=(SEED,)) as bench,
        ExitStack() as stack,
    ):
        model = stack.enter_context(stub_model())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="robot-os-")))
        local = stack.enter_context(our_fleet(place / "local", "local", model.url, ROBOTS))
        zenoh = stack.enter_context(our_fleet(place / "zenoh", "zenoh", model.url, ROBOTS))
        timings = {name: Timings() for name in (LOCAL, ZENOH, f"{ZENOH}, {GIVEN}")}
        systems = {
            LOCAL: ours_once(local, given=False),
            ZENOH: ours_once(zenoh, given=False),
            f"{ZENOH}, {GIVEN}": ours_once(zenoh, given=True),
        }
        rival: Rival | None = None
        if given.roboos:
            bench.say(f"starting RoboOS from {given.roboos.name}")
            rival = stack.enter_context(roboos(given.roboos, place / "roboos", model.url, ROBOTS))
            timings[ROBOOS] = Timings()
            systems[ROBOOS] = rival_once(rival, timings[ROBOOS])
        measure(bench, model, systems, timings)
        report(bench, timings)
        compare_deaths(bench, zenoh, rival)


def compare_deaths(bench: Benchmark, fleet: OurFleet, rival: Rival | None) -> None:
    """Kill robots with signal 9."""
    count = 3 if bench.quick else 10
    theirs = f"{ROBOOS} earlier: {EARLIER['dead']}"
    at_work = [kill_ours(fleet, at_work=True) for _ in bench.track(range(count), "killed at work")]
    at_rest = [kill_ours(fleet, at_work=False) for _ in bench.track(range(count), "killed at rest")]
    if rival is None:
        bench.note(
            "RoboOS was not measured in this run (no --roboos); its figures are of an earlier day, "
            "taken by the same procedure: loads of 8 to 12, n = 30."
        )
    else:
        watch_s = 20.0 if bench.quick else RIVAL_WATCHED_S
        noticed, done = kill_rival(rival, watch_s)
        theirs = f"{ROBOOS} {'noticed' if noticed else 'not'} within {watch_s:g} s"
        for metric, value in (("noticed", noticed), ("any of its work done by others", done)):
            bench.add(
                Measurement(
                    metric=f"{ROBOOS}: killed before its work, {metric} within {watch_s:g} s",
                    value=float(value),
                    unit="of 1",
                )
            )
    bench.note(
        f"A robot is lost {SILENCE_S:g} s after its last word; its work is another's only "
        f"{LEASE_S:g} s after it, when it must be at rest even if the network is what died."
    )
    report_deaths(bench, "in its work", at_work, theirs)
    report_deaths(bench, "before its work", at_rest, theirs)


if __name__ == "__main__":
    main()
