"""``loopwright who``: who is responsible for a deployment."""

from __future__ import annotations

import json
import time
from typing import Annotated

import tyro
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.site import DEFAULT_PLACE, Place, moment, written
from loopwright.safety.accountability import Responsibility, who


def main(
    deployment: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DEPLOYMENT")],
    /,
    *,
    at: str | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Tell who proposed, tested, approved, deployed, grounded and released a deployment.

    Args:
        deployment: Its id.
        at: As of when, 2026-11-22T14:00 (UTC); now by default.
        json_output: Print JSON.
        place: Where the register lies.
    """
    with place.open() as register:
        found = who(register, deployment, moment(at) if at else time.time())
    if json_output:
        print(json.dumps(found.to_json()))
    else:
        _show(found)
    return 0


def _show(found: Responsibility) -> None:
    subject, console = found.deployment, stdout_console()
    console.print(f"[bold]{subject.id}[/] at {written(found.at_s)} UTC", highlight=False)
    for name, digest in subject.identity.items():
        console.print(f"  {name:<10} {digest}", highlight=False)
    table = Table("", "who", "when (UTC)", "entry", "statement", "", box=None)
    for deed in found.deeds:
        people = ", ".join(deed.people)
        table.add_row(
            f"[bold]{deed.verb}[/]",
            people,
            written(deed.time_s),
            str(deed.entry),
            deed.digest[:16],
            deed.detail,
        )
    console.print(table)
    for binding in found.bindings:
        console.print(f"in force: {binding.effect}; {binding.why}", highlight=False, style="red")
