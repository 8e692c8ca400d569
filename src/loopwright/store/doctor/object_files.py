"""Objects: every digest, every mode, and files that do not belong there."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from loopwright.core.digest import digest_file
from loopwright.store.doctor import Finding
from loopwright.store.durable import if_abandoned

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{2}")
_READ_ONLY = 0o444
_FOLDER_BEGINS = b'{"folder":'
_MOST_MANIFEST_BYTES = 64 << 20


def object_paths(root: Path) -> dict[str, Path]:
    """Return every file that lies where an object of its name belongs."""
    return {
        path.name: path
        for path in _entries(root)
        if _is_in_place(path) and stat.S_ISREG(path.lstat().st_mode)
    }


def examine_object(root: Path, path: Path, *, deep: bool) -> Iterator[Finding]:
    """Look at one object."""
    where = path.relative_to(root).as_posix()
    try:
        if deep and (found := digest_file(path)) != path.name:
            size = path.stat().st_size
            yield Finding(
                check="object/digest",
                severity="damage",
                where=where,
                message=f"its {size} bytes have the digest {found[:12]}, not that of its name",
                repair="move it to objects/quarantine; a snapshot is restored from its file, a "
                "candidate is made anew when the recipe is run again",
            )
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        yield Finding(
            check="object/unreadable",
            severity="damage",
            where=where,
            message=f"it cannot be read: {error.strerror}",
        )
        return
    if mode != _READ_ONLY:
        yield Finding(
            check="object/mode",
            severity="suspicion",
            where=where,
            message=f"its mode is {mode:o}, expected {_READ_ONLY:o}: anyone may write into it",
            repair="make it read-only",
        )


def examine_stray_objects(root: Path) -> Iterator[Finding]:
    """Look for what lies among the objects and is none."""
    for path in _entries(root):
        if not _is_in_place(path) or not stat.S_ISREG(path.lstat().st_mode):
            yield Finding(
                check="object/stray",
                severity="suspicion",
                where=path.relative_to(root).as_posix(),
                message="this is no object; nothing reads it",
                repair="move it to objects/quarantine",
            )
    for path in _listed(root / "objects/tmp"):
        with if_abandoned(path) as abandoned:
            if abandoned:
                yield Finding(
                    check="object/temporary",
                    severity="suspicion",
                    where=path.relative_to(root).as_posix(),
                    message="a half-written object whose writer is gone; nothing reads it",
                    repair="remove it",
                )


def examine_manifest(root: Path, path: Path, objects: frozenset[str]) -> Iterator[Finding]:
    """Look whether everything that a stored folder names is here."""
    for name, digest in _named(path).items():
        if digest not in objects:
            yield Finding(
                check="object/missing",
                severity="damage",
                where=f"objects/sha256/{digest[:2]}/{digest}",
                message=f"it is missing; folder {path.name[:12]} names it as {name!r}",
            )


def _named(path: Path) -> dict[str, str]:
    """Return what a manifest names; nothing if it is none (a damaged one has another digest)."""
    try:
        with path.open("rb") as file:
            if file.read(len(_FOLDER_BEGINS)) != _FOLDER_BEGINS:
                return {}
            files = json.loads(_FOLDER_BEGINS + file.read(_MOST_MANIFEST_BYTES))["folder"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _is_in_place(path: Path) -> bool:
    return bool(_DIGEST.fullmatch(path.name)) and path.parent.name == path.name[:2]


def _entries(root: Path) -> Iterator[Path]:
    for path in _listed(root / "objects/sha256"):
        if _PREFIX.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield from _listed(path)
        else:
            yield path


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder))
    except OSError:
        return []  # a missing folder is told by itself
