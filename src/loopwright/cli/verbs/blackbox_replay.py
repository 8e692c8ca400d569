"""``loopwright blackbox replay``: fly a recording again, and compare."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import stdout_console
from loopwright.core.errors import InvalidConfig, Untrusted
from loopwright.safety.blackbox import (
    Flight,
    ReplayReport,
    Snapshot,
    plant_of,
    read_flight,
    replay,
)
from loopwright.safety.chain import verify_chain
from loopwright.safety.keys import KeyRing


def main(
    flight: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FLIGHT")],
    /,
    *,
    start: int | None = None,
    steps: int | None = None,
    ring: Path | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Apply the recorded commands to the plant that the recording names, and compare bit by bit.

    Exit code 0 means that every measured state came out the same.

    Args:
        flight: The recording.
        start: Begin at the last snapshot before this step; at the first snapshot by default.
        steps: How many steps at most.
        ring: Key ring to check first who recorded it; needed for plants of other packages.
        json_output: Print JSON.
    """
    recording = read_flight(flight)
    if ring is not None:
        _require_trust(flight, KeyRing.read(ring))
    plant = plant_of(recording, trusted=ring is not None)
    try:
        report = replay(recording, plant, _snapshot(recording, start), most_steps=steps)
    finally:
        plant.close()
    if json_output:
        print(json.dumps({**asdict(report), "exact": report.exact}))
    else:
        _print(report)
    return 0 if report.exact else 1


def _require_trust(path: Path, ring: KeyRing) -> None:
    report = verify_chain(path, ring)
    if report.verdict == "tampered" or not report.heads:
        raise Untrusted(f"{path} is not what was recorded; see 'loopwright blackbox verify'")


def _snapshot(flight: Flight, start: int | None) -> Snapshot | None:
    if start is None:
        return None
    before = [snapshot for snapshot in flight.snapshots if snapshot.next_step <= start]
    if not before:
        known = ", ".join(str(snapshot.next_step) for snapshot in flight.snapshots) or "nowhere"
        raise InvalidConfig(f"no snapshot up to step {start}; there are some before: {known}")
    return before[-1]


def _print(report: ReplayReport) -> None:
    console = stdout_console()
    span = f"{report.steps} steps from step {report.first_step} on"
    if report.exact:
        console.print(f"bit-exact: {span}")
        return
    console.print(f"not the same: {span}")
    if report.first_difference is not None:
        console.print(
            f"first difference at step {report.first_difference}; the largest is "
            f"{report.worst_position:.3g} in position, {report.worst_speed:.3g} in speed"
        )
    if report.missing:
        console.print(f"{report.missing} steps are missing from the recording")
    if not report.same_build:
        console.print("The plant is another build than the one that was recorded.")
