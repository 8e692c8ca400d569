"""``loopwright blackbox verify``: whether a recording is what was recorded."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import stdout_console
from loopwright.safety.chain import ChainReport, verify_chain
from loopwright.safety.keys import KeyRing

_WORDS = {
    "intact": "[bold]intact[/]: it was closed in order, and every record is what was written",
    "interrupted": "[bold]interrupted[/]: every record is what was written, but there is no "
    "proper end",
    "tampered": "[bold red]tampered[/]: it is not what was written",
}


def main(
    flight: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FLIGHT")],
    /,
    *,
    ring: Path,
    heads: Path | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Check every link and signature of a recording, and name what was done to it.

    Exit code 0 means that nothing is missing but, where the recorder was killed, what came after
    the last head in the second place. Without a second place only a closed file gets it.

    Args:
        flight: The recording, or any other chain file.
        ring: Key ring: whose signatures count.
        heads: The second place: the file of heads, or its folder.
        json_output: Print JSON.
    """
    report = verify_chain(flight, KeyRing.read(ring), heads)
    if json_output:
        print(json.dumps({**_facts(report), "findings": [asdict(f) for f in report.findings]}))
    else:
        _print(report)
    whole = report.verdict == "intact" or (report.verdict == "interrupted" and heads is not None)
    return 0 if whole else 1


def _facts(report: ChainReport) -> dict[str, object]:
    return {
        "verdict": report.verdict,
        "id": report.id,
        "records": report.records,
        "heads": report.heads,
        "signers": report.signers,
        "unsigned": report.unsigned,
        "last_signed": _day(report.last_signed_ns),
        "second_place": report.second_place,
    }


def _print(report: ChainReport) -> None:
    console = stdout_console()
    console.print(_WORDS[report.verdict])
    signers = ", ".join(report.signers) or "nobody"
    console.print(
        f"{report.records} records, {report.heads} signed heads by {signers}, "
        f"the last {_day(report.last_signed_ns) or 'never'}; {report.unsigned} records after it "
        "are linked but not signed"
    )
    if not report.second_place and report.unfinished:
        console.print("Without a second place a cut tail cannot be excluded: give --heads.")
    for finding in report.findings:
        place = f" (byte {finding.byte})" if finding.byte is not None else ""
        console.print(f"- {finding.name}: {finding.text}{place}", markup=False)


def _day(time_ns: int | None) -> str | None:
    if time_ns is None:
        return None
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")
