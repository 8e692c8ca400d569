"""``loopwright robot stop``: the emergency stop, from a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.fleet_door import (
    DEFAULT_FOLDER,
    FleetRefused,
    FleetSilent,
    fleet_door,
    site_of,
)
from loopwright.core.errors import DamagedData
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.fleet.warehouse import cell_of
from loopwright.safety.guard.stops import press_stop

_WITHIN_S = 2.0


def main(
    robot: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="ROBOT")] = None,
    /,
    *,
    folder: Path = DEFAULT_FOLDER,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Stop one robot, or the whole fleet; it stays stopped until the stop is released.

    If the fleet does not answer, the line of its guards is pressed without it.

    Args:
        robot: Which; the whole fleet by default.
        folder: The fleet's folder.
        json_output: Print JSON.
    """
    site = site_of(folder)
    try:
        with fleet_door(site, "operate", timeout_s=_WITHIN_S) as door:
            door.ask("POST", "/stop", json={"robot": robot} if robot else {})
    except (FleetSilent, FleetRefused, DamagedData):
        if robot is not None or not _press(site):
            raise
        said = "the fleet does not answer; the line of its guards is pressed, all robots stop"
    else:
        said = f"{robot or 'all robots'} stopped"
    if json_output:
        print(json.dumps({"stopped": robot or "all", "says": said}))
    else:
        which = f" {robot}" if robot else ""
        print(f'{said}; release with: loopwright robot release{which} --note "what was found"')
    return 0


def _press(site: FleetSite) -> bool:
    """Press the line of the guards, if they are there."""
    signals = cell_of(site).signals
    if not signals.is_dir():
        return False
    press_stop(signals, "operator", "robot stop, without the fleet")
    return True
