"""``loopwright robot tasks``: what a fleet was asked for, and what became of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.fleet_door import DEFAULT_FOLDER, journal_of
from loopwright.cli.fleet_words import done_of, standing, tone
from loopwright.robot.journal.fold import fold
from loopwright.robot.wires.views import task_view


def main(
    *,
    folder: Path = DEFAULT_FOLDER,
    limit: int = 20,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """List the tasks of a fleet, the newest at the end; the fleet need not run.

    Args:
        folder: The fleet's folder.
        limit: At most so many, the newest ones.
        json_output: Print JSON: every task with its graph and attempts.
    """
    with journal_of(folder) as journal:
        state = fold(journal.lately(limit))
    contracts = {name: c for robot in state.robots.values() for name, c in robot.skills.items()}
    tasks = [task_view(task, contracts) for task in list(state.tasks.values())[-limit:]]
    if json_output:
        print(json.dumps(tasks, ensure_ascii=False))
        return 0
    table = Table("task", "asked", "by", "instruction", "steps", "stands", box=None)
    for task in tasks:
        table.add_row(
            task["id"],
            time.strftime("%m-%d %H:%M:%S", time.localtime(task["asked_s"])),
            escape(task["by"]),
            escape(task["instruction"]),
            done_of(task),
            f"[{tone(task)}]{standing(task)}[/]",
        )
    stdout_console().print(table if tasks else "nothing has been asked yet")
    return 0
