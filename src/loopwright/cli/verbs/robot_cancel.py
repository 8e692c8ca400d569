"""``loopwright robot cancel``: give up a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.fleet_door import DEFAULT_FOLDER
from loopwright.cli.fleet_tasks import act_on_task


def main(
    task: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")],
    /,
    *,
    folder: Path = DEFAULT_FOLDER,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Give up a task; what runs for it is stopped at once.

    Args:
        task: Its id; 'loopwright robot tasks' lists them.
        folder: The fleet's folder.
        json_output: Print the task as JSON.
    """
    return act_on_task("cancel", task, folder, json_output=json_output)
