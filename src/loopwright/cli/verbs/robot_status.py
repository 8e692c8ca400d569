"""``loopwright robot status``: how the robots of a running fleet stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.fleet_door import DEFAULT_FOLDER, fleet_door, site_of
from loopwright.cli.fleet_words import robot_stands, standing
from loopwright.robot.fleet.flights import Recording, recording_of

_SOON_S = 86400.0


def main(
    *,
    folder: Path = DEFAULT_FOLDER,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Tell of every robot whether it is free, at work, stopped (and why), undirected or lost.

    Exit code 1 if a robot is stopped or lost, or if nobody directs the fleet any more.

    Args:
        folder: The fleet's folder.
        json_output: Print JSON.
    """
    site = site_of(folder)
    url = site.read_address()
    with fleet_door(site, "observe") as door:
        fleet = door.ask("GET", "/fleet")
    failure, recording = fleet["failure"], recording_of(site.flights)
    well = not failure and all(r["alive"] and not r["stopped"] for r in fleet["robots"])
    if json_output:
        shown = {
            key: fleet[key]
            for key in ("number", "time_s", "failure", "unheard", "robots", "things")
        }
        shown["recording"] = recording.to_json()
        print(json.dumps({"url": url, **shown}, ensure_ascii=False))
        return 0 if well else 1
    console = stdout_console()
    table = Table("robot", "stands", "", box=None)
    for robot in fleet["robots"]:
        word, color, because = robot_stands(robot)
        table.add_row(robot["name"], f"[{color}]{word}[/]", escape(because))
    console.print(table)
    if failure:
        console.print(f"[red]{escape(failure)}; end the fleet, and start it again[/]")
    if fleet["unheard"]:
        counted = ", ".join(f"{why} {count}" for why, count in sorted(fleet["unheard"].items()))
        console.print(f"[yellow]on the bus, and not heard: {escape(counted)}[/]")
    for task in fleet["tasks"]:
        if task["status"] != "ended":
            console.print(f"{task['id']} {standing(task)}: {escape(task['instruction'])}")
    console.print(_room(recording))
    console.print(f"[dim]{url}, event {fleet['number']}[/]")
    return 0 if well else 1


def _room(recording: Recording) -> str:
    """Say how much the black boxes hold, and for how long there is room."""
    said = f"black boxes: {recording.kept_bytes / 1e6:,.0f} MB"
    if not recording.grows_bytes_per_s:
        return f"[dim]{said}[/]"
    said += f", {recording.grows_bytes_per_s * 60 / 1e6:.1f} MB more a minute"
    if recording.lasts_s < _SOON_S:
        return (
            f"[yellow]{said}; the disk is full in {recording.lasts_s / 3600:.1f} h, and the guards "
            "stop the robots then: move flights of earlier hours to another disk[/]"
        )
    return f"[dim]{said}; room for {recording.lasts_s / 86400:,.0f} days[/]"
