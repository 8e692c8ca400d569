"""``loopwright data page``: one HTML file in which the episodes of a snapshot can be browsed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import progress_of
from loopwright.cli.recorded import find_snapshot
from loopwright.core.errors import InvalidConfig
from loopwright.store.ledger import EpisodeRow
from loopwright.store.snapshots import load_snapshot
from loopwright.store.workspace import Workspace


def main(
    snapshot: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SNAPSHOT")],
    /,
    *,
    out: Path | None = None,
    limit: int = 500,
    workspace: Path = Path("runs"),
) -> int:
    """Write a page with film strips, plots, verdicts and filters, and print where it is.

    The file needs no network and no server. What is left out is said on it.

    Args:
        snapshot: Digest of the snapshot, or its beginning; 'loopwright data show' lists them.
        out: File to write; by default reports/data-DIGEST.html in the workspace.
        limit: Most episodes to show; 500 make about 12 MB.
        workspace: Folder of the workspace.
    """
    from loopwright.report.episodes.gather import gather_snapshot
    from loopwright.report.episodes.page import write_page

    if limit < 1:
        raise InvalidConfig(f"limit is {limit}; expected at least 1")

    def watched(rows: list[EpisodeRow]) -> Iterator[EpisodeRow]:
        return progress_of(rows, "episodes")

    with Workspace.open(workspace) as place:
        digest = find_snapshot(place, snapshot)
        story = gather_snapshot(place, load_snapshot(place, digest), limit=limit, watched=watched)
        target = out or place.root / "reports" / f"data-{digest[:12]}.html"
    print(write_page(story, target))
    return 0
