"""``loopwright data select``: choose episodes and keep the choice as a snapshot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from loopwright.cli.recorded import find_episode, find_snapshot, unique_beginning
from loopwright.core.episode import SourceKind
from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import Box
from loopwright.store.curate import Judgement, Query, select
from loopwright.store.snapshots import save_snapshot
from loopwright.store.workspace import Workspace

Many = tyro.conf.UseAppendAction


def main(  # noqa: PLR0913  (one flag per rule)
    *,
    kind: Many[tuple[SourceKind, ...]] = (),
    scenario: Many[tuple[str, ...]] = (),
    body: Many[tuple[str, ...]] = (),
    candidate: Many[tuple[str, ...]] = (),
    outcome: Many[tuple[Judgement, ...]] = (),
    where: Many[tuple[str, ...]] = (),
    label: Many[tuple[str, ...]] = (),
    without_label: Many[tuple[str, ...]] = (),
    cut_short: Literal["exclude", "include", "only"] = "exclude",
    snapshot: Many[tuple[str, ...]] = (),
    leave_out: Many[tuple[str, ...]] = (),
    limit: int | None = None,
    workspace: Path = Path("runs"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Choose the episodes for which every rule holds, and print the digest of their snapshot.

    The digest goes to standard output, the summary to standard error. Nothing recorded is touched.
    Repeat a flag to allow several values. The same records and rules give the same digest.

    Args:
        kind: Source kind: demo, play, video or attempt.
        scenario: Id of the scenario.
        body: Whose body moves ("robot", or another one of a video).
        candidate: Digest, or its beginning, of the candidate that acted.
        outcome: Outcome of the verdict that stands; "unjudged" for none.
        where: Part of the operating domain, as NAME=LOW:HIGH ("object_x_m=-0.05:0.02").
        label: An annotation that the episode carries; of several one suffices.
        without_label: An annotation that it does not carry.
        cut_short: What to do with recordings that end early.
        snapshot: Choose from this snapshot (beginning of its digest); several are merged.
        leave_out: Episode not to choose (beginning of its id).
        limit: Most episodes to choose; the first ones are.
        workspace: Folder of the workspace.
        json_output: Print JSON.
    """
    with Workspace.open(workspace) as place:
        query = Query(
            kinds=kind,
            scenarios=scenario,
            bodies=body,
            candidates=tuple(_candidate(place, name) for name in candidate),
            outcomes=outcome,
            box=_box(where),
            labels=label,
            without_labels=without_label,
            censored={"exclude": False, "include": None, "only": True}[cut_short],
            snapshots=tuple(find_snapshot(place, name) for name in snapshot),
            leave_out=tuple(find_episode(place, name).id for name in leave_out),
            limit=limit,
        )
        chosen = select(place, query)
        if not chosen.episodes:
            raise InvalidConfig(f"no episode matches: {query.rule}; drop a rule")
        digest = save_snapshot(place, chosen)
        return _tell(place, digest, json_output=json_output)


def _tell(workspace: Workspace, digest: str, *, json_output: bool) -> int:
    from loopwright.report.episodes.gather import gather_snapshot
    from loopwright.report.episodes.terminal import summary
    from loopwright.store.snapshots import load_snapshot

    snapshot = load_snapshot(workspace, digest)
    story = gather_snapshot(workspace, snapshot, limit=0)
    if json_output:
        kinds = {kind: count.total() for kind, count in story.outcomes_by_kind().items()}
        facts = {
            "snapshot": digest,
            "rule": snapshot.label_filter,
            "kinds": kinds,
            "outcomes": dict(story.outcomes()),
            "episodes": list(snapshot.episodes),
        }
        print(json.dumps(facts))
    else:
        print(digest)
        print(f"{summary(story)}; rule: {snapshot.label_filter}", file=sys.stderr)
    return 0


def _candidate(workspace: Workspace, name: str) -> str:
    """Return the digest of a candidate that acted in some episode."""
    acted = {row.candidate for row in workspace.ledger.episodes(censored=True) if row.candidate}
    return unique_beginning("candidate", name, acted)


def _box(ranges: tuple[str, ...]) -> Box | None:
    """Read ``NAME=LOW:HIGH`` of every range."""
    low, high = {}, {}
    for text in ranges:
        name, _, bounds = text.partition("=")
        begin, _, end = bounds.partition(":")
        try:
            low[name], high[name] = float(begin), float(end)
        except ValueError:
            raise InvalidConfig(
                f"--where {text!r}; expected NAME=LOW:HIGH, as in object_x_m=-0.05:0.02"
            ) from None
    return Box(low=low, high=high) if ranges else None
