"""The examination of a workspace: every check, in the order in which the findings help most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from loopwright.core.errors import WorkspaceError
from loopwright.core.stage import ProgressSink
from loopwright.store.doctor import Finding
from loopwright.store.doctor.duplicates import examine_duplicates
from loopwright.store.doctor.episode_folders import (
    describe_episode,
    episode_folders,
    examine_absent,
    examine_entry,
    examine_episode,
    examine_strays,
)
from loopwright.store.doctor.ledger_file import examine_ledger_file
from loopwright.store.doctor.ledger_rows import (
    examine_decisions,
    examine_receipts,
    examine_rows,
    read_rows,
)
from loopwright.store.doctor.leftovers import examine_recordings, examine_views
from loopwright.store.doctor.marker import examine_folders, examine_marker, examine_temporary
from loopwright.store.doctor.object_files import (
    examine_manifest,
    examine_object,
    examine_stray_objects,
    object_paths,
)
from loopwright.store.doctor.snapshot_files import examine_snapshots
from loopwright.store.episode_files import Description
from loopwright.store.workspace import FOLDERS, LEDGER, MARKER

Item = TypeVar("Item")


def is_workspace(folder: Path) -> bool:
    """Tell whether a folder is a workspace, or what is left of one."""
    if (folder / MARKER).exists() or (folder / LEDGER).exists():
        return True
    return (folder / "episodes").is_dir() and sum((folder / n).is_dir() for n in FOLDERS) > 1


def examine(
    workspace_folder: Path, *, deep: bool = True, progress: ProgressSink | None = None
) -> Iterator[Finding]:
    """Yield everything that is wrong with a workspace, even with one that cannot be opened.

    Nothing is changed, and no lock is taken: a loop may be at work.

    Args:
        workspace_folder: Where it is.
        deep: Digest every file and decode every film, too.
        progress: Told of the finished share and what is being looked at.

    Raises:
        WorkspaceError: The folder is no workspace at all.
    """
    root = Path(workspace_folder).resolve()
    if not is_workspace(root):
        raise WorkspaceError(f"{root} is no workspace; there is nothing to examine in it")
    yield from _once(_all_findings(root, deep=deep, progress=progress or _say_nothing))


def _all_findings(root: Path, *, deep: bool, progress: ProgressSink) -> Iterator[Finding]:
    yield from examine_marker(root)
    yield from examine_folders(root)
    yield from examine_temporary(root)
    objects = object_paths(root)
    present = frozenset(objects)
    yield from _ledger_findings(root, present)
    yield from examine_stray_objects(root)
    for path in _followed(list(objects.values()), 0.0, 0.2, progress, "object"):
        yield from examine_object(root, path, deep=deep)
        yield from examine_manifest(root, path, present)
    described: dict[str, Description] = {}
    yield from _episode_findings(root, described, deep=deep, progress=progress)
    yield from examine_duplicates(described.values())
    yield from examine_snapshots(root, objects, frozenset(described), deep=deep)
    yield from examine_recordings(root)
    yield from examine_views(root, deep=deep)
    progress(1.0, "done")


def _ledger_findings(root: Path, objects: frozenset[str]) -> Iterator[Finding]:
    yield from examine_ledger_file(root)
    if (root / LEDGER).is_file() and (root / LEDGER).stat().st_size:
        yield from examine_rows(root)
        yield from examine_decisions(root, objects)
        yield from examine_receipts(root, objects)


def _episode_findings(
    root: Path, described: dict[str, Description], *, deep: bool, progress: ProgressSink
) -> Iterator[Finding]:
    yield from examine_strays(root)
    has_ledger = (root / LEDGER).is_file() and (root / LEDGER).stat().st_size
    rows = {row["id"]: row for row in read_rows(root, "episodes")} if has_ledger else {}
    folders = episode_folders(root)
    for folder in _followed(folders, 0.2, 1.0, progress, "episode"):
        description = describe_episode(folder)
        if isinstance(description, Finding):
            yield description
            continue
        described[description.id] = description
        if has_ledger:  # that all are unknown to a lost ledger was said already
            yield from examine_entry(description, rows.get(description.id))
        yield from examine_episode(folder, description, deep=deep)
    for missing in sorted(rows.keys() - {folder.name for folder in folders}):
        yield examine_absent(missing)


def _once(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Leave out what was said before: a missing object is missed by all who name it."""
    said = set()
    for finding in findings:
        message = "" if finding.check == "object/missing" else finding.message
        place = (finding.check, finding.where, message)
        if place not in said:
            said.add(place)
            yield finding


def _followed(
    items: Sequence[Item], begin: float, end: float, progress: ProgressSink, noun: str
) -> Iterator[Item]:
    for number, item in enumerate(items):
        progress(begin + (end - begin) * number / len(items), f"{noun} {number + 1}/{len(items)}")
        yield item


def _say_nothing(fraction: float, message: str) -> None:
    pass
