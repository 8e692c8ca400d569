"""``loopwright data show``: snapshots, the episodes of one, or one episode."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

from loopwright.cli.display import stdout_console
from loopwright.cli.recorded import find_recorded
from loopwright.core.errors import DamagedData
from loopwright.store.curate import snapshot_digests
from loopwright.store.ledger import EpisodeRow
from loopwright.store.snapshots import Snapshot, load_snapshot
from loopwright.store.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

    from loopwright.report.episodes.story import EpisodeStory, SnapshotStory

_FRAME_COLUMNS = 19
"""A frame is at least this wide: four of them fit 80 columns."""


def main(
    name: Annotated[
        str | None, tyro.conf.Positional, tyro.conf.arg(metavar="SNAPSHOT|EPISODE")
    ] = None,
    /,
    *,
    limit: int = 40,
    workspace: Path = Path("runs"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Show the snapshots of a workspace, the episodes of a snapshot, or all about an episode.

    Args:
        name: Digest of a snapshot or id of an episode, or its beginning; a table of the snapshots
            by default.
        limit: Most episodes to list.
        workspace: Folder of the workspace.
        json_output: Print JSON.
    """
    console = stdout_console()
    with Workspace.open(workspace) as place:
        if name is None:
            return _show_snapshots(place, console, json_output=json_output)
        found = find_recorded(place, name)
        if isinstance(found, EpisodeRow):
            return _show_episode(place, found, console, json_output=json_output)
        return _show_snapshot(place, found, console, limit=limit, json_output=json_output)


def _show_snapshots(workspace: Workspace, console: Console, *, json_output: bool) -> int:
    from loopwright.report.episodes.gather import gather_snapshot
    from loopwright.report.episodes.terminal import snapshots_table, summary

    everything = Snapshot(
        episodes=tuple(row.id for row in workspace.ledger.episodes(censored=True))
    )
    stories = [
        (_saved_at(workspace, digest), _listed(workspace, digest))
        for digest in snapshot_digests(workspace)
    ]
    if json_output:
        print(json.dumps([{"saved": saved, **_facts(story)} for saved, story in stories]))
        return 0
    console.print(f"In all {summary(gather_snapshot(workspace, everything, limit=0))}.")
    if stories:
        console.print()
        console.print(snapshots_table(stories))
    else:
        console.print("No snapshot has been made yet; 'loopwright data select' makes one.")
    return 0


def _listed(workspace: Workspace, digest: str) -> SnapshotStory:
    from loopwright.report.episodes.gather import gather_snapshot

    return gather_snapshot(workspace, load_snapshot(workspace, digest), limit=0)


def _saved_at(workspace: Workspace, digest: str) -> str:
    saved_s = (workspace.snapshots_folder / f"{digest}.json").stat().st_mtime
    return time.strftime("%m-%d %H:%M", time.localtime(saved_s))


def _show_snapshot(
    workspace: Workspace, digest: str, console: Console, *, limit: int, json_output: bool
) -> int:
    from loopwright.report.episodes.gather import gather_snapshot
    from loopwright.report.episodes.terminal import snapshot_view

    snapshot = load_snapshot(workspace, digest)
    if json_output:
        story = gather_snapshot(workspace, snapshot, limit=0)
        print(json.dumps({**_facts(story), "judgements": dict(story.judgements)}))
        return 0
    story = gather_snapshot(workspace, snapshot, limit=limit, pictures=False)
    console.print(snapshot_view(story))
    return 0


def _facts(story: SnapshotStory) -> dict:
    return {
        "snapshot": story.digest,
        "rule": story.rule,
        "episodes": [row.id for row in story.rows],
        "missing": list(story.missing),
        "outcomes": {k: dict(count) for k, count in story.outcomes_by_kind().items()},
    }


def _show_episode(
    workspace: Workspace, row: EpisodeRow, console: Console, *, json_output: bool
) -> int:
    from loopwright.report.episodes.gather import gather_episode
    from loopwright.report.episodes.terminal import episode_view

    story = gather_episode(workspace, row)
    if json_output:
        header = story.footage.header.to_json() if story.footage else None
        facts = {
            "id": row.id,
            "header": header,
            "num_steps": row.num_steps,
            "censored": row.censored,
            "digest": row.digest,
            "damage": story.damage,
            "standing": story.standing.to_json() if story.standing else None,
            "verdicts": [verdict.to_json() for verdict in story.verdicts],
            "annotations": [note.to_json() for note in story.annotations],
        }
        print(json.dumps(facts))
        return 0
    # Without colours half blocks would all look the same.
    colourful = console.color_system is not None and not console.no_color
    frames = _frames(workspace, story, console.width) if colourful else []
    console.print(episode_view(story, frames, columns=console.width))
    return 0


def _frames(workspace: Workspace, story: EpisodeStory, columns: int) -> list[np.ndarray]:
    """Return as many frames of the first camera as fit side by side; none of a damaged film."""
    from loopwright.report.episodes.strip import frame_indices
    from loopwright.store.reading import EpisodeReader

    footage = story.footage
    if footage is None or not footage.header.interface.cameras:
        return []
    number = max(1, (columns + 1) // (_FRAME_COLUMNS + 1))
    indices = frame_indices(footage.time_s, number).tolist()
    camera = footage.header.interface.cameras[0].name
    with closing(EpisodeReader(workspace, open_films=1)) as reader:
        try:
            return list(reader.frames(story.row.id, camera, indices))
        except DamagedData:
            return []
