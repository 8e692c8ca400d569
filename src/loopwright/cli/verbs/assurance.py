"""``loopwright assurance``: whether what is claimed of a robot still holds."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli import EXIT_FAILED
from loopwright.cli.display import stdout_console
from loopwright.cli.site import DEFAULT_PLACE, Place
from loopwright.safety.assurance import Case, Finding


def main(
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")],
    /,
    *,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Judge an assurance case against the register; exit with 1 if its root does not hold.

    Args:
        file: The case, TOML.
        json_output: Print JSON.
        place: Where the register lies.
    """
    case = Case.read(file)
    with place.open() as register:
        findings = case.judge(register, time.time())
    if json_output:
        print(json.dumps([_plain(finding) for finding in findings]))
    else:
        _show(findings)
    return EXIT_FAILED if findings[0].red else 0


def _show(findings: Sequence[Finding]) -> None:
    console = stdout_console()
    for finding in findings:
        node, indent = finding.node, "  " * finding.depth
        colour, sign = ("red", "✗") if finding.red else ("green", "✓")
        console.print(
            f"{indent}[{colour}]{sign} {node.element} {node.id}[/] {node.text}",
            highlight=False,
            soft_wrap=True,
        )
        for problem in finding.problems:
            console.print(f"{indent}    {problem}", style="red", highlight=False, soft_wrap=True)
    broken = sum(bool(finding.problems) for finding in findings)
    print(f"{len(findings)} elements, {broken} broken" if broken else "everything holds")


def _plain(finding: Finding) -> dict[str, object]:
    return {
        "id": finding.node.id,
        "element": finding.node.element,
        "text": finding.node.text,
        "red": finding.red,
        "problems": list(finding.problems),
        "depth": finding.depth,
    }
