"""Episodes as folders: the description, every file and its digest, the entry in the ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.core.digest import canonical_json, digest_file
from loopwright.core.errors import ContractError, DamagedData
from loopwright.store.doctor import Finding, Severity
from loopwright.store.doctor.footage import Footage, examine_footage
from loopwright.store.doctor.series import examine_series
from loopwright.store.episode_files import (
    DESCRIPTION,
    QUARANTINE,
    TABLE,
    DamagedEpisode,
    Description,
    film_name,
    is_episode_id,
    read_description,
    read_regular_file,
)
from loopwright.store.table import read_table

QUARANTINE_IT = "move the episode to episodes/quarantine, with the reason"
_REINDEX = "enter it into the ledger anew, as its folder says"


def episode_folders(root: Path) -> list[Path]:
    """Return the folders of the episodes."""
    return [path for path in _entries(root) if path.is_dir()]


def examine_strays(root: Path) -> Iterator[Finding]:
    """Look for what lies among the episodes and is none."""
    for path in _entries(root):
        if not path.is_dir():
            yield Finding(
                check="episode/stray",
                severity="suspicion",
                where=f"episodes/{path.name}",
                message="this is no episode; nothing reads it",
                repair="move it to episodes/quarantine, with the reason",
            )


def describe_episode(folder: Path) -> Description | Finding:
    """Return what describes an episode, or why nothing does."""
    where = f"episodes/{folder.name}"
    try:
        description = read_description(folder)
    except DamagedEpisode as error:
        return _finding(
            folder.name, f"{where}/{DESCRIPTION}", "episode/description", _said(error, folder)
        )
    if description.id != folder.name or not is_episode_id(folder.name):
        message = f"the folder holds the episode {description.id}"
        return _finding(folder.name, where, "episode/name", message)
    return description


def examine_episode(folder: Path, description: Description, *, deep: bool) -> Iterator[Finding]:
    """Look at the files of one episode; what is inside is read only if the bytes are right."""
    yield from _strange_files(folder, description)
    sound = set()
    for name, digest in description.files.items():
        fault = _fault(folder / name, digest if deep else None)
        if fault is None:
            sound.add(name)
        else:
            yield _finding(folder.name, f"episodes/{folder.name}/{name}", "episode/file", fault)
    columns: Mapping[str, np.ndarray] = {}
    if TABLE in sound:
        try:
            columns = _columns(folder, description)
        except (DamagedData, ContractError, OSError) as error:
            where = f"episodes/{folder.name}/{TABLE}"
            yield _finding(folder.name, where, "table/unreadable", _said(error, folder))
        else:
            yield from examine_series(description, columns)
    for camera in description.header.interface.cameras:
        if film_name(camera.name) in sound:
            film = Footage(folder=folder, description=description, camera=camera)
            yield from examine_footage(film, columns.get("proprio"), decode=deep)


def examine_entry(description: Description, row: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Compare an episode with its row in the ledger."""
    where = f"episodes/{description.id}"
    if row is None:
        yield _finding(
            description.id,
            where,
            "index/missing",
            "the ledger does not know it",
            repair=_REINDEX,
            severity="suspicion",
        )
        return
    if row["digest"] != description.digest:
        message = (
            f"its digest is {description.digest[:12]}, the ledger says {row['digest'][:12]}: "
            "the folder was replaced"
        )
        yield _finding(description.id, where, "index/digest", message)
        return
    told = description.row()
    for column in ("kind", "scenario", "seed", "candidate", "num_steps", "censored"):
        if row[column] != getattr(told, column):
            message = f"its {column} is {getattr(told, column)!r}, the ledger says {row[column]!r}"
            yield _finding(description.id, where, "index/row", message, repair=_REINDEX)
    if row["start"] != canonical_json(dict(told.start)).decode():
        message = f"it began at {dict(told.start)}, the ledger says {row['start']}"
        yield _finding(description.id, where, "index/row", message, repair=_REINDEX)


def examine_absent(episode_id: str) -> Finding:
    """Tell of an episode that the ledger knows and whose folder is gone."""
    return _finding(
        episode_id,
        f"episodes/{episode_id}",
        "episode/missing",
        "its folder is missing",
        repair="forget it, so that it can be recorded again; verdicts on it stay",
    )


def _strange_files(folder: Path, description: Description) -> Iterator[Finding]:
    known = {DESCRIPTION, *description.files}
    for path in _listed(folder):
        if path.name not in known and not path.name.endswith(".tmp"):
            yield _finding(
                folder.name,
                f"episodes/{folder.name}/{path.name}",
                "episode/stray",
                "it is not part of the episode; nothing reads it",
                repair="move it to episodes/quarantine, with the reason",
                severity="suspicion",
            )


def _fault(path: Path, digest: str | None) -> str | None:
    """Say what is wrong with a file; without a digest only that it is there is asked."""
    try:
        if path.is_symlink() or not path.is_file():
            return "it is missing" if not os.path.lexists(path) else "it is no plain file"
        size = path.stat().st_size
        if digest is None:
            return None if size else "it is empty"
        found = digest_file(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if found != digest:
        return f"its {size} bytes have the digest {found[:12]}, expected {digest[:12]}"
    return None


def _columns(folder: Path, description: Description) -> Mapping[str, np.ndarray]:
    return read_table(read_regular_file(folder / TABLE), description.header, TABLE)


def _finding(
    episode: str,
    where: str,
    check: str,
    message: str,
    *,
    repair: str = QUARANTINE_IT,
    severity: Severity = "damage",
) -> Finding:
    return Finding(
        check=check,
        severity=severity,
        where=where,
        message=message,
        repair=repair,
        episode=episode,
    )


def _said(error: Exception, folder: Path) -> str:
    """Return an error's words without what ``where`` says already."""
    text = str(error).removeprefix(f"episode {folder.name}: ")
    return text.replace(f"{folder}{os.sep}", "")


def _entries(root: Path) -> list[Path]:
    return [path for path in _listed(root / "episodes") if path.name != QUARANTINE]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder))
    except OSError:
        return []  # a missing folder is told by itself
