"""The guard of a robot in real processes: how late it is, and how long a fault goes unanswered.

A cell of seven-joint arms at 500 Hz with the whole ladder and the black box. First what the
scheduler does to it, with bounds so wide that nothing stops: beats missed, longest gaps, from a
request to the motors. Then, with the default bounds, two arms are broken in every way, again and
again, and the simulators' own records say when each motor was in its safe state.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from benchmarks.guard_cell import (
    Trial,
    arm_cell,
    be_policy,
    busy,
    fault_kinds,
    read_pairs,
    try_fault,
)
from benchmarks.harness import Benchmark, Measurement
from loopwright.core.errors import SafetyError
from loopwright.safety.blackbox.flight import read_flight
from loopwright.safety.guard.config import Bounds

RATE_HZ = 500.0
PATIENT = Bounds(late_s=5.0, guard_s=5.0, command_s=5.0, line_s=5.0, reading_s=5.0, policy_s=10.0)
"""Nothing stops, so that stalls are seen as they are."""
SPINNERS = 4


def quantiles(values: np.ndarray) -> tuple[float, float, float, float]:
    """Return median, 99 %, 99.9 % and the largest; zeros where there are none."""
    if not len(values):
        return (0.0, 0.0, 0.0, 0.0)
    median, high, higher = np.quantile(values, (0.5, 0.99, 0.999))
    return float(median), float(high), float(higher), float(values.max())


def measure_time(bench: Benchmark, folder: Path, title: str, *, priority: int, load: int) -> None:
    """Let one arm wave for a while and see how punctual everybody is."""
    seconds = 10.0 if bench.quick else 40.0
    with busy(load), arm_cell(folder, bounds=PATIENT, priority=priority) as arms:
        began_s = time.monotonic() + 1.0
        time.sleep(1.0 + seconds)
        over_s, stop = time.monotonic(), arms.cell.stop()
    if stop is not None:
        after_s = stop.time_s - began_s
        bench.note(f"{title}: stopped after {after_s:.1f} s: {stop.reason}, {stop.detail}")
    (flight,) = folder.glob("*.flight")
    beats = read_flight(flight).steps["monotonic_s"]
    beats = beats[(beats > began_s) & (beats < over_s)]
    gaps_ms = 1e3 * np.diff(beats)
    period_ms = 1e3 / RATE_HZ
    missed = float(np.sum(np.round(gaps_ms / period_ms) - 1))
    drive_ms = 1e3 * np.diff(arms.truth("arm0", began_s)[:, 0])
    latency_ms, altered = latencies(folder, began_s, over_s)
    bench.details.append(
        {
            "condition": title,
            "guard_gap_ms": quantiles(gaps_ms),
            "drive_gap_ms": quantiles(drive_ms),
            "latency_ms": quantiles(latency_ms),
            "gaps_over_ms": {str(ms): int(np.sum(gaps_ms > ms)) for ms in (5, 10, 20, 40, 80)},
            "altered": altered,
        }
    )
    n, median = len(latency_ms), quantiles(latency_ms)
    rows = (
        ("beats of the guard missed", missed / (len(beats) + missed), "share", len(beats)),
        ("longest gap between two beats of the guard", quantiles(gaps_ms)[3], "ms", len(beats)),
        ("longest gap between two beats of the drive", quantiles(drive_ms)[3], "ms", len(drive_ms)),
        ("request to motors, median", median[0], "ms", n),
        ("request to motors, 99 %", median[1], "ms", n),
        ("request to motors, longest", median[3], "ms", n),
    )
    for metric, value, unit, count in rows:
        if count:
            bench.add(Measurement(metric=f"{title}: {metric}", value=value, unit=unit, n=count))


def latencies(folder: Path, began_s: float, over_s: float) -> tuple[np.ndarray, float]:
    """Return milliseconds from a request to the motors, and the share that was altered."""
    sent = read_pairs(folder / "arm0.sent")
    sent = sent[(sent[:, 0] > began_s) & (sent[:, 0] < over_s - 0.5)]
    followed = {value: time_s for time_s, value in read_pairs(folder / "arm0.followed")}
    found = [1e3 * (followed[v] - t) for t, v in sent if v in followed]
    return np.array(found), 1.0 - len(found) / max(1, len(sent))


def measure_stops(bench: Benchmark, folder: Path) -> None:
    """Break two arms in every way and see when they stand."""
    count = 3 if bench.quick else 20
    bounds = Bounds()
    kinds = fault_kinds(bounds)
    trials: dict[str, list[Trial]] = defaultdict(list)
    unasked: Counter[str] = Counter()
    with arm_cell(folder, robots=2, bounds=bounds) as arms:
        # In turns, so that a busy minute of the machine falls on all kinds alike.
        turns = [kind for _ in range(count) for kind in kinds]
        for kind in bench.track(turns, "faults"):
            arms.get_moving()
            time.sleep(0.3)
            now = arms.cell.stop()
            if not arms.all_move():
                unasked[now.reason if now else "?"] += 1
                arms.get_moving()
            trials[kind.title].append(try_fault(arms, kind))
    for kind in kinds:
        report_stops(bench, kind.title, kind.reason, kind.bound_s, trials[kind.title])
    told = ", ".join(f"{n} {reason}" for reason, n in unasked.items()) or "none"
    bench.note(f"stops nobody asked for, before a fault was made: {told}")


def report_stops(
    bench: Benchmark, title: str, reason: str, bound_s: float, trials: list[Trial]
) -> None:
    """Add the rows of one kind of fault."""
    n = len(trials)
    reaction = np.array([trial.reaction_s for trial in trials])
    standing = np.array([trial.standing_s for trial in trials])
    peer = np.array([trial.peer_s for trial in trials])
    first = Counter(trial.stop.reason if trial.stop else "none" for trial in trials)
    bench.details.append(
        {
            "fault": title,
            "bound_s": bound_s,
            "reaction_s": reaction.tolist(),
            "standing_s": standing.tolist(),
            "peer_s": peer.tolist(),
            "reasons": dict(first),
        }
    )
    stood = sum(trial.stayed for trial in trials) / n
    written = sum(trial.stop is not None for trial in trials) / n
    limit_ms = 1e3 * bound_s + 50.0
    rows = (
        ("both arms stood for good", stood, "share", ">= 1"),
        ("a reason was on the disk", written, "share", ">= 1"),
        (f"of these {reason}", first[reason] / n, "share", ""),
        ("until the drive stopped, median", 1e3 * float(np.median(reaction)), "ms", ""),
        ("until the drive stopped, longest", 1e3 * float(reaction.max()), "ms", f"<= {limit_ms:g}"),
        ("until the arm stood, longest", 1e3 * float(standing.max()), "ms", ""),
    )
    for metric, value, unit, target in rows:
        bench.add(
            Measurement(metric=f"{title}: {metric}", value=value, unit=unit, n=n, target=target)
        )
    spread = 1e3 * np.array([trial.spread_s for trial in trials])
    bench.add(
        Measurement(
            metric=f"{title}: from the first drive to the last, longest",
            value=float(spread.max()),
            unit="ms",
            n=n,
        )
    )


CONDITIONS = (
    ("real-time priority", 50, 0),
    (f"real-time priority, {SPINNERS} busy processes", 50, SPINNERS),
    ("ordinary priority", 0, 0),
    (f"ordinary priority, {SPINNERS} busy processes", 0, SPINNERS),
)


def main() -> None:
    if sys.argv[1:2] == ["--policy"]:
        be_policy(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
        return
    with (
        Benchmark("guard", "A guard in its own process: punctuality and stops") as bench,
        tempfile.TemporaryDirectory(prefix="guard-") as base,
    ):
        for number, (title, priority, load) in enumerate(CONDITIONS):
            folder = Path(base) / f"time{number}"
            folder.mkdir()
            bench.say(title)
            try:
                measure_time(bench, folder, title, priority=priority, load=load)
            except SafetyError as error:
                bench.note(f"{title}: did not come to a measurement: {error}")
        folder = Path(base) / "stops"
        folder.mkdir()
        measure_stops(bench, folder)


if __name__ == "__main__":
    main()
