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


def main(
    *,
    folder: Path = DEFAULT_FOLDER,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Tell of every robot whether it is free, at work, stopped (and why) or lost.

    Exit code 1 if a robot is stopped or lost.

    Args:
        folder: The fleet's folder.
        json_output: Print JSON.
    """
    site = site_of(folder)
    url = site.read_address()
    with fleet_door(site, "observe") as door:
        fleet = door.ask("GET", "/fleet")
    well = all(robot["alive"] and not robot["stopped"] for robot in fleet["robots"])
    if json_output:
        shown = {key: fleet[key] for key in ("number", "time_s", "robots", "things")}
        print(json.dumps({"url": url, **shown}, ensure_ascii=False))
        return 0 if well else 1
    console = stdout_console()
    table = Table("robot", "stands", "", box=None)
    for robot in fleet["robots"]:
        word, color, because = robot_stands(robot)
        table.add_row(robot["name"], f"[{color}]{word}[/]", escape(because))
    console.print(table)
    for task in fleet["tasks"]:
        if task["status"] != "ended":
            console.print(f"{task['id']} {standing(task)}: {escape(task['instruction'])}")
    console.print(f"[dim]{url}, event {fleet['number']}[/]")
    return 0 if well else 1
