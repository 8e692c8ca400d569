"""What is done to a task of a fleet that runs, by the verbs that do it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from loopwright.cli.fleet_door import fleet_door, site_of


def act_on_task(
    action: Literal["cancel", "pause", "resume"], task: str, folder: Path, *, json_output: bool
) -> int:
    """Ask a fleet to do something to a task, and print how the task stands then.

    Raises:
        FleetSilent: No fleet runs there; the message says what to type.
        FleetRefused: There is no such task.
    """
    with fleet_door(site_of(folder), "operate") as door:
        said = door.ask("POST", f"/tasks/{task}/{action}")
    if json_output:
        print(json.dumps(said, ensure_ascii=False))
    else:
        print(f"{task} {said['status']}: {said['instruction']}")
    return 0
