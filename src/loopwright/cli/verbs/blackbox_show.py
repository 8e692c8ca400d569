"""``loopwright blackbox show``: what a recording tells."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.table import Table
from rich.text import Text

from loopwright.cli.display import stdout_console
from loopwright.core.errors import UsageError
from loopwright.safety.blackbox import Flight, FlightSummary, read_flight, summarise


def main(
    flight: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FLIGHT")],
    /,
    *,
    events: int = 40,
    records: str | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Show who flew, which steps were altered and why, how near the limits, and what happened.

    Signatures are not checked here: 'loopwright blackbox verify' does that.

    Args:
        flight: The recording.
        events: Most events to list; the last ones.
        records: Show instead what was requested and applied in the steps of these records,
            "120:180"; 'loopwright robot explain' names those of an attempt.
        json_output: Print JSON.
    """
    recording = read_flight(flight)
    if records is not None:
        return _show_steps(recording, *_range_of(records), json_output=json_output)
    summary = summarise(recording)
    told = list(recording.events())
    if json_output:
        shown = [{**asdict(e), "utc": _clock(recording, e.monotonic_s)} for e in told[-events:]]
        print(json.dumps({**summary.to_json(), "header": recording.raw_header, "events": shown}))
        return 0
    console = stdout_console()
    console.print(_facts_table(recording, summary))
    if summary.reasons:
        console.print(_reasons_table(summary))
    timeline = Table("time (UTC)", "record", "channel", "what", title="Events", box=None)
    for event in told[-events:] if events else []:
        time = _clock(recording, event.monotonic_s)[11:]
        timeline.add_row(time, str(event.record), _plain(event.channel), _plain(event.text))
    if told:
        left_out = max(0, len(told) - events)
        console.print(timeline)
        if left_out:
            console.print(f"{left_out} earlier events are not shown; --events {len(told)} does")
    return 0


def _range_of(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal()):
        raise UsageError(f"--records {text}: expected the first and the last, such as 120:180")
    return int(first), int(last)


def _show_steps(flight: Flight, first: int, last: int, *, json_output: bool) -> int:
    """Show the joint commands of some records."""
    rows = np.flatnonzero((flight.records >= first) & (flight.records <= last))
    if not len(rows):
        raise UsageError(
            f"{flight.path} has no steps in the records {first}:{last}; "
            f"it has {flight.records.min(initial=0)}:{flight.records.max(initial=0)}"
        )
    found = [
        {
            "record": int(flight.records[row]),
            "utc": _clock(flight, float(flight.steps["monotonic_s"][row])),
            "requested": np.atleast_1d(flight.steps["requested"][row]).tolist(),
            "applied": np.atleast_1d(flight.steps["applied"][row]).tolist(),
            "reason": flight.reason_name(int(flight.steps["reason"][row])),
            "stopping": bool(flight.steps["stopping"][row]),
        }
        for row in rows
    ]
    if json_output:
        print(json.dumps(found))
        return 0
    for step in found:
        asked, given = (
            " ".join(f"{value:+.3f}" for value in step[name]) for name in ("requested", "applied")
        )
        why = f"{step['reason']}{', stopping' if step['stopping'] else ''}"
        print(f"{step['utc'][11:23]} {step['record']:>7}  asked {asked}  given {given}  {why}")
    return 0


def _facts_table(flight: Flight, summary: FlightSummary) -> Table:
    header = flight.header
    steps = max(summary.steps, 1)
    margins = ", ".join(f"{name} {value:.3f}" for name, value in summary.margins.items())
    table = Table(box=None, show_header=False)
    for name, value in {
        "robot": summary.robot,
        "instruction": header.instruction,
        "began": _clock(flight, flight.raw_header["clock"]["monotonic_s"]),
        "candidate": header.candidate[:16],
        "certificate": header.certificate[:16],
        "filter": header.filter[:16],
        "steps": f"{summary.steps} in {summary.duration_s:.2f} s, {summary.missing_steps} missing",
        "altered": f"{summary.altered} ({summary.altered / steps:.2%})",
        "stopping": f"{summary.stopping} ({summary.stopping / steps:.2%})",
        "malformed": str(summary.malformed),
        "margin": margins or "not known",
        "oldest request": f"{summary.oldest_request_s:.3f} s",
        "oldest sensor": f"{summary.oldest_sensor_s:.3f} s",
        "snapshots": str(summary.snapshots),
    }.items():
        table.add_row(name, _plain(value))
    if summary.torn_bytes:
        table.add_row("torn tail", f"{summary.torn_bytes} bytes: the recorder was killed")
    return table


def _reasons_table(summary: FlightSummary) -> Table:
    table = Table("reason", "steps", "share", title="Why steps were altered", box=None)
    for name, count in summary.reasons.items():
        table.add_row(name, str(count), f"{count / summary.steps:.2%}")
    return table


def _clock(flight: Flight, monotonic_s: float) -> str:
    moment = datetime.fromtimestamp(flight.utc_ns(monotonic_s) / 1e9, UTC)
    return moment.isoformat(timespec="milliseconds")


def _plain(text: str) -> Text:
    """Return text as it is: neither markup nor a control sequence of the terminal works."""
    return Text("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))
