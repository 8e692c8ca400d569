"""``loopwright robot release``: end a stop, with a signature."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from loopwright.cli.fleet_door import DEFAULT_FOLDER, FleetDoor, fleet_door, site_of
from loopwright.core.errors import SafetyError

_WITHIN_S = 10.0


def main(
    robot: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="ROBOT")] = None,
    /,
    *,
    note: str,
    by: str = "operator",
    folder: Path = DEFAULT_FOLDER,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Release the stop of one robot, or of the fleet, signed with the operator's key.

    Args:
        robot: Which; everything that is stopped by default.
        note: What was found, and what was done; it is signed, and kept.
        by: Who releases it.
        folder: The fleet's folder.
        json_output: Print JSON.
    """
    site = site_of(folder)
    site.read_address()  # says what to type where no fleet runs, before anything is signed
    signature = site.sign_releases(robot, note)
    body: dict[str, Any] = {"by": by, "signature": signature, **({"robot": robot} if robot else {})}
    with fleet_door(site, "resume", timeout_s=30.0) as door:
        door.ask("POST", "/release", json=body)
        still = _still_stopped(door, robot)
    if still:
        raise SafetyError(
            f"the release was handed on, but {', '.join(still)}; see: loopwright robot status"
        )
    if json_output:
        print(json.dumps({"released": robot or "all", "note": note}))
    else:
        print(f"{robot or 'all robots'} released: {note}")
    return 0


def _still_stopped(door: FleetDoor, robot: str | None) -> list[str]:
    """Wait until the robots may move again; return those that may not."""
    until_s = time.monotonic() + _WITHIN_S
    while True:
        robots = door.ask("GET", "/fleet")["robots"]
        still = [
            f"{r['name']} is still stopped ({r['stopped_by']})"
            for r in robots
            if r["alive"] and r["stopped"] and robot in (None, r["name"])
        ]
        if not still or time.monotonic() > until_s:
            return still
        time.sleep(0.2)
