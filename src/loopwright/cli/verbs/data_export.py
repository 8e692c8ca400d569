"""``loopwright data export``: episodes in the formats of others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import progress_of
from loopwright.cli.recorded import find_snapshot
from loopwright.core.errors import UsageError
from loopwright.store.exchange import Exported
from loopwright.store.snapshots import load_snapshot
from loopwright.store.workspace import Workspace

Export = Callable[[Workspace, Sequence[str], Path], Exported]


def main(
    snapshot: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SNAPSHOT|all")],
    /,
    *,
    workspace: Path = Path("runs"),
    lerobot: Path | None = None,
    mcap: Path | None = None,
    rrd: Path | None = None,
    copy_films: bool = False,
) -> int:
    """Write the episodes of a snapshot, or all whole ones with actions, into new folders.

    Args:
        snapshot: Digest of a snapshot, or the beginning of one; or the word all.
        workspace: Folder that holds everything.
        lerobot: New folder for a LeRobotDataset v3.0.
        mcap: New folder for an MCAP file an episode, which Foxglove shows.
        rrd: New folder for a recording an episode, which Rerun shows.
        copy_films: Copy films into the LeRobotDataset instead of linking them (a linked film that
            is edited in place is edited in the workspace too).
    """
    wanted = {"lerobot": lerobot, "mcap": mcap, "rrd": rrd}
    if not any(wanted.values()):
        raise UsageError(
            "nothing to export to; name a folder: " + ", ".join(f"--{name} DIR" for name in wanted)
        )
    with Workspace.open(workspace) as place:
        episodes = _episodes(place, snapshot)
        for name, folder in wanted.items():
            if folder is not None:
                _report(EXPORTS[name](copy_films)(place, episodes, folder))
    return 0


def _lerobot(copy_films: bool) -> Export:
    from loopwright.store.exchange.lerobot_export import export_lerobot

    def export(workspace: Workspace, episodes: Sequence[str], folder: Path) -> Exported:
        return export_lerobot(
            workspace,
            episodes,
            folder,
            link=not copy_films,
            progress=lambda ids: progress_of(ids, "episodes"),
        )

    return export


def _mcap(copy_films: bool) -> Export:
    del copy_films  # there is nothing to link to: the films' packets lie between the numbers
    from loopwright.store.exchange.mcap_export import export_mcap

    return partial(export_mcap, progress=lambda ids: progress_of(ids, "episodes"))


def _rrd(copy_films: bool) -> Export:
    del copy_films
    from loopwright.store.exchange.rerun_export import export_rerun

    return partial(export_rerun, progress=lambda ids: progress_of(ids, "episodes"))


EXPORTS: Mapping[str, Callable[[bool], Export]] = {"lerobot": _lerobot, "mcap": _mcap, "rrd": _rrd}
"""Format to what makes its export, given whether films are to be copied."""


def _episodes(workspace: Workspace, snapshot: str) -> list[str]:
    if snapshot != "all":
        return list(load_snapshot(workspace, find_snapshot(workspace, snapshot)).episodes)
    rows = workspace.ledger.episodes()
    kept = [row.id for row in rows if row.kind != "video"]
    if len(kept) < len(rows):
        print(f"left out: {len(rows) - len(kept)} videos, which have no actions", file=sys.stderr)
    return kept


def _report(exported: Exported) -> None:
    print(f"{exported.folder}: {exported.episodes} episodes, {exported.steps} steps")
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)
