"""``loopwright data import``: a LeRobot dataset as demonstrations."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import progress_of
from loopwright.store.exchange.lerobot_import import Imported, import_lerobot
from loopwright.store.workspace import Workspace


def main(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
    /,
    *,
    workspace: Path = Path("runs"),
    scenario: str | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Record the episodes of a LeRobot dataset (v2.0, v2.1, v3.0) in a workspace.

    Doing it again adds only what is new. Damaged episodes are listed and left out; the exit code
    is then 1, though the others are there.

    Args:
        folder: The dataset: the folder that holds meta/info.json.
        workspace: Folder that holds everything; made if it is new.
        scenario: Id of their scenario; lerobot/ and the folder's name by default.
        json_output: Print JSON.
    """
    with Workspace.create(workspace, exclusive=True) as place:
        done = import_lerobot(
            folder, place, scenario=scenario, progress=lambda items: progress_of(items, "episodes")
        )
    if json_output:
        print(json.dumps(asdict(done)))
    else:
        _report(done)
    return 1 if done.damaged else 0


def _report(done: Imported) -> None:
    print(
        f"{done.scenario}: {len(done.episodes)} episodes, {done.steps} steps; "
        f"{done.added} new, {len(done.damaged)} damaged"
    )
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    for entry in done.damaged:
        name = "?" if entry.episode is None else entry.episode
        print(f"damaged: episode {name}: {entry.reason}", file=sys.stderr)
