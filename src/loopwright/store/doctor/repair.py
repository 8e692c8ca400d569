"""Repair: only what is safe. Nothing is destroyed; what cannot be trusted is moved and kept.

Every check whose finding names a repair has one function here, chosen by its name. All can be run
again: what is mended already is left as it is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopwright.core.digest import digest_file
from loopwright.core.errors import DamagedData, LoopwrightError
from loopwright.store.doctor import Finding
from loopwright.store.doctor.ledger_rebuilding import rebuild_ledger
from loopwright.store.durable import make_folder, storing, sync
from loopwright.store.episode_files import QUARANTINE, index_folder, quarantine_folder
from loopwright.store.snapshots import load_snapshot, save_snapshot
from loopwright.store.workspace import MARKER, Workspace, take_lock, write_marker

_READ_ONLY = 0o444


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """What was done about a finding."""

    finding: Finding
    done: str
    """What was done, where the original is kept, and what is lost, in one sentence."""


def repair(workspace_folder: Path, findings: Iterable[Finding]) -> list[Repaired]:
    """Mend what can be mended safely, and return what was done.

    The workspace is taken for this process alone. What keeps it from being opened is mended first;
    opening it then salvages recordings and brings the index up to date.

    Raises:
        WorkspaceBusy: Another command is at work in it.
        StorageError: The operating system refused.
    """
    root = Path(workspace_folder).resolve()
    wanted = [finding for finding in findings if finding.repair is not None]
    lock = take_lock(root)
    try:
        repaired = _mend_closed(root, [each for each in wanted if each.check in _CLOSED])
    finally:
        os.close(lock)
    with Workspace.open(root, exclusive=True) as workspace:
        for finding in wanted:
            if mend := _OPEN.get(finding.check):
                try:
                    done = mend(workspace, finding)
                except LoopwrightError as error:
                    done = f"could not be mended: {error}"
                repaired.append(Repaired(finding=finding, done=done))
        if repaired:
            places = sorted({each.finding.where for each in repaired})
            workspace.ledger.add_event("repaired", places=places)
    return repaired


def _mend_closed(root: Path, findings: Sequence[Finding]) -> list[Repaired]:
    """Mend what keeps a workspace from being opened: folders, marker, then the ledger, once."""
    done: dict[str, str] = {}
    for check in ("workspace/folder", "workspace/marker"):
        for finding in (each for each in findings if each.check == check):
            done[finding.where] = _CLOSED[check](root, finding)
    about_ledger = [each for each in findings if each.check.startswith("ledger/")]
    if about_ledger:
        sentence = rebuild_ledger(root)
        done |= {finding.where: sentence for finding in about_ledger}
    return [Repaired(finding=finding, done=done[finding.where]) for finding in findings]


def _make_missing_folder(root: Path, finding: Finding) -> str:
    with storing(root / finding.where):
        make_folder(root / finding.where)
    return "made anew, empty"


def _write_marker_anew(root: Path, finding: Finding) -> str:
    kept = _set_aside(root / MARKER)
    write_marker(root)
    return "written anew" + (f"; the old one is kept as {kept.name}" if kept else "")


def _rebuild(root: Path, finding: Finding) -> str:
    return rebuild_ledger(root)


_CLOSED: Mapping[str, Callable[[Path, Finding], str]] = {
    "workspace/folder": _make_missing_folder,
    "workspace/marker": _write_marker_anew,
    "ledger/file": _rebuild,
    "ledger/log": _rebuild,
    "ledger/row": _rebuild,
}


def _remove(workspace: Workspace, finding: Finding) -> str:
    (workspace.root / finding.where).unlink(missing_ok=True)
    return "removed"


def _quarantine_object(workspace: Workspace, finding: Finding) -> str:
    path = workspace.root / finding.where
    if not os.path.lexists(path):
        return _gone(path)
    kept = workspace.objects.quarantine / f"{path.name}-{os.urandom(4).hex()}"
    with storing(kept):
        os.rename(path, kept)
        kept.with_name(kept.name + ".txt").write_text(finding.message + "\n", encoding="utf-8")
    done = f"moved to {kept.relative_to(workspace.root)}"
    if (workspace.snapshots_folder / f"{path.name}.json").is_file():
        try:
            load_snapshot(workspace, path.name)
        except DamagedData as error:
            return f"{done}; not restored: {error}"
        return f"{done}; restored from snapshots/{path.name}.json"
    return done


def _make_read_only(workspace: Workspace, finding: Finding) -> str:
    path = workspace.root / finding.where
    if not path.exists():
        return _gone(path)  # for a worse fault
    with storing(path):
        path.chmod(_READ_ONLY)
    return "made read-only"


def _quarantine_episode(workspace: Workspace, finding: Finding) -> str:
    folder = workspace.root / "episodes" / Path(finding.where).parts[1]
    if not os.path.lexists(folder):
        return _gone(folder)
    kept = quarantine_folder(workspace, folder, f"{finding.where}: {finding.message}")
    workspace.ledger.forget_episodes([folder.name])
    workspace.ledger.add_event(
        "episode quarantined", episode=folder.name, reason=f"{finding.where}: {finding.message}"
    )
    return f"moved to {kept.relative_to(workspace.root)}; it can be recorded again"


def _quarantine_stray(workspace: Workspace, finding: Finding) -> str:
    path = workspace.root / finding.where
    if not os.path.lexists(path):
        return _gone(path)
    shelter = workspace.episodes_folder / QUARANTINE
    kept = shelter / f"{path.name}-{os.urandom(4).hex()}"
    with storing(kept):
        make_folder(shelter)
        os.rename(path, kept)
        kept.with_name(kept.name + ".txt").write_text(
            f"{finding.where}: {finding.message}\n", encoding="utf-8"
        )
    return f"moved to {kept.relative_to(workspace.root)}"


def _index_again(workspace: Workspace, finding: Finding) -> str:
    if finding.episode is None or not (workspace.episodes_folder / finding.episode).is_dir():
        return "its folder is gone; nothing to index"
    workspace.ledger.forget_episodes([finding.episode])
    index_folder(workspace, workspace.episodes_folder / finding.episode)
    return "indexed anew"


def _forget_episode(workspace: Workspace, finding: Finding) -> str:
    if finding.episode is not None and not (workspace.root / finding.where).exists():
        workspace.ledger.forget_episodes([finding.episode])
    return "forgotten; it can be recorded again"


def _restore_snapshot_object(workspace: Workspace, finding: Finding) -> str:
    load_snapshot(workspace, Path(finding.where).name)
    return "restored from the file"


def _restore_snapshot_file(workspace: Workspace, finding: Finding) -> str:
    path = workspace.root / finding.where
    kept = None
    if path.exists() and digest_file(path) != path.stem:
        kept = _set_aside(path)
    if len(path.stem) == 64 and workspace.objects.has(path.stem):
        save_snapshot(workspace, load_snapshot(workspace, path.stem))
        return "written anew" + (f"; the old one is kept as {kept.name}" if kept else "")
    return f"kept as {kept.name if kept else path.name}; there is no object to restore it from"


def _salvaged(workspace: Workspace, finding: Finding) -> str:
    """Say what opening the workspace has done already."""
    name = Path(finding.where).parts[2]
    if (workspace.root / "staging/recordings" / name).exists():
        return "left as it is: a recorder is at work on it"
    if name in workspace.recovery.quarantined:
        return "moved to episodes/quarantine, with the reason"
    if name in workspace.recovery.removed:
        return "removed: it held no whole step"
    return "made a censored episode of what was whole"


_OPEN: Mapping[str, Callable[[Workspace, Finding], str]] = {
    "workspace/temporary": _remove,
    "object/digest": _quarantine_object,
    "object/stray": _quarantine_object,
    "object/mode": _make_read_only,
    "object/temporary": _remove,
    "episode/description": _quarantine_episode,
    "episode/name": _quarantine_episode,
    "episode/file": _quarantine_episode,
    "table/unreadable": _quarantine_episode,
    "table/length": _quarantine_episode,
    "film/unreadable": _quarantine_episode,
    "film/length": _quarantine_episode,
    "episode/stray": _quarantine_stray,
    "episode/missing": _forget_episode,
    "index/digest": _quarantine_episode,
    "index/missing": _index_again,
    "index/row": _index_again,
    "snapshot/object": _restore_snapshot_object,
    "snapshot/file": _restore_snapshot_file,
    "staging/recording": _salvaged,
}

REPAIRS = frozenset(_CLOSED) | frozenset(_OPEN)
"""The checks whose findings can be repaired."""


def _gone(path: Path) -> str:
    return f"{path.name} was moved away already"


def _set_aside(path: Path) -> Path | None:
    """Keep a file under another name beside its own; None if there is none."""
    if not os.path.lexists(path):
        return None
    kept = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
    with storing(kept):
        if path.is_dir() and not path.is_symlink():
            shutil.move(path, kept)
        else:
            os.rename(path, kept)
        sync(path.parent)
    return kept
