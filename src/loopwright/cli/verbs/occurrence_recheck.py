"""``loopwright occurrence recheck``: the suite again, and every certificate in force under it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli import EXIT_FAILED
from loopwright.cli.occurrences import DEFAULT_KEPT, Kept
from loopwright.cli.site import DEFAULT_PLACE, Place, read_json
from loopwright.safety.keys import SigningKey
from loopwright.safety.limits import Limits
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.recheck import (
    Suite,
    Verdict,
    note,
    read_suite,
    recheck,
    run_suite,
    suspend,
)


def main(
    *,
    key: Path | None = None,
    limits: tuple[Path, ...] = (),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
    kept: Kept = DEFAULT_KEPT,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Run every regression scenario, and try every certificate in force that it concerns.

    With a key, certificates under which a limit is exceeded are suspended, and passes are noted;
    without one it is only said. Exit code 0 if every scenario happens as recorded and is prevented
    when mended, and no certificate fails or is undecided.

    Args:
        key: Private key of an authority (or of an approver).
        limits: JSON files of limits of filters that are certified.
        json_output: Print JSON.
        kept: Where the suite lies.
        place: Where the register lies.
    """
    known = [Configuration(limits=Limits.from_json(read_json(path))) for path in limits]
    with place.open() as register:
        suite = read_suite(kept.suite, register)
        scenarios = _scenarios(suite)
        verdicts = recheck(register, suite, time.time(), known)
        suspended: tuple[int, ...] = ()
        if key is not None:
            signer = SigningKey.read(key)
            suspended = suspend(register, verdicts, signer)
            note(register, verdicts, signer)
    if json_output:
        said = {"scenarios": scenarios, "suspended": suspended, "problems": suite.problems}
        print(json.dumps({**said, "certificates": [asdict(verdict) for verdict in verdicts]}))
    else:
        _print(suite, scenarios, verdicts, suspended)
    bad = [verdict for verdict in verdicts if verdict.state == "undecided" or verdict.suspends]
    return EXIT_FAILED if bad or suite.problems or any(scenarios.values()) else 0


def _scenarios(suite: Suite) -> dict[str, list[str]]:
    """Return what is wrong with each scenario."""
    return {
        member.path.name: [report] if isinstance(report, str) else list(report.problems)
        for member, report in run_suite(suite)
    }


def _print(
    suite: Suite,
    scenarios: dict[str, list[str]],
    verdicts: tuple[Verdict, ...],
    suspended: tuple[int, ...],
) -> None:
    for problem in suite.problems:
        print(f"PROBLEM {problem}")
    for name, problems in scenarios.items():
        print(f"{name}: {'; '.join(problems) or 'happens as recorded, prevented when mended'}")
    for verdict in verdicts:
        print(f"certificate {verdict.certificate[:16]} {verdict.state}: {verdict.why}")
    for number in suspended:
        print(f"entry {number}: certificate suspended")
    print(f"{len(scenarios)} scenarios, {len(verdicts)} trials of certificates")
