"""``loopwright ask``: an instruction for a fleet that runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from loopwright.cli.fleet_door import DEFAULT_FOLDER, FleetDoor, fleet_door, site_of


def main(
    instruction: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INSTRUCTION")],
    /,
    *,
    within: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None,
    folder: Path = DEFAULT_FOLDER,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Ask a fleet that 'loopwright up' started, and wait until the task is over.

    Args:
        instruction: What to do, in English or Chinese.
        within: Seconds until it should be over; that it will not be is said once it is known.
        folder: The fleet's folder.
        json_output: Print the result as JSON.
    """
    with fleet_door(site_of(folder), "operate") as door:
        asked = {"instruction": instruction, "deadline_s": within}
        task = str(door.ask("POST", "/tasks", json=asked)["task"])
        try:
            result = _ended(door, task, wait_s=30 if within is None else 1)
        except KeyboardInterrupt:
            print(f"{task} goes on; loopwright robot cancel {task} ends it", file=sys.stderr)
            raise
    if json_output:
        print(json.dumps(result, ensure_ascii=False))
    else:
        word = "refused" if result.get("refused") else result["outcome"]
        reason = f" ({result['reason']})" if result.get("reason") else ""
        print(f"{task} {word}: {instruction}{reason}")
    return 0 if result["outcome"] == "succeeded" else 1


def _ended(door: FleetDoor, task: str, *, wait_s: int) -> dict[str, Any]:
    """Wait until a task is over, and say what is expected of its deadline meanwhile."""
    result: dict[str, Any] = {}
    while result.get("status") != "ended":
        known = result.get("expected_late_s")
        result = door.ask("GET", f"/tasks/{task}/result?wait_s={wait_s}", timeout=60.0)
        _foretell(result.get("expected_late_s"), known)
    return result


def _foretell(late_s: float | None, known_s: float | None) -> None:
    """Say on stderr what is expected of the deadline, when it is something else than before."""
    if late_s and late_s != known_s:
        print(f"expected to be {late_s:.0f} s late", file=sys.stderr)
    elif known_s and late_s == 0.0:
        print("expected to be in time again", file=sys.stderr)
