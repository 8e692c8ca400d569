"""Is it a whole workspace? Its marker, its folders, and temporary files that a crash left."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from loopwright.core.errors import DamagedData
from loopwright.store.doctor import Finding
from loopwright.store.episode_files import read_regular_file
from loopwright.store.workspace import FOLDERS, MARKER, SCHEMA_VERSION

_MOST_BYTES = 1 << 16
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
_TEMPORARY_IN = (".", "snapshots", "episodes/*", "staging/recordings/*")


def examine_marker(root: Path) -> Iterator[Finding]:
    """Look at ``workspace.toml``."""
    try:
        said = tomllib.loads(read_regular_file(root / MARKER, most_bytes=_MOST_BYTES).decode())
        version = said.get("schema_version")
        if type(version) is int and version > SCHEMA_VERSION:
            yield _marker(f"it is of version {version}, newer than this Loopwright", None)
            return
        fault = _fault(said)
    except FileNotFoundError:
        fault = "it is missing"
    except (OSError, ValueError, RecursionError, DamagedData) as error:
        fault = f"it cannot be read: {error}"
    if fault:
        yield _marker(fault, "keep the old file and write a new one")


def examine_folders(root: Path) -> Iterator[Finding]:
    """Look for folders that every workspace has."""
    for name in FOLDERS:
        if not (root / name).is_dir():
            yield Finding(
                check="workspace/folder",
                severity="damage",
                where=name,
                message="this folder of the workspace is missing, with all that was in it",
                repair="make it anew, empty",
            )


def examine_temporary(root: Path) -> Iterator[Finding]:
    """Look for half-written text files whose writer was killed."""
    for place in _TEMPORARY_IN:
        for path in sorted(root.glob(f"{place}/.*.tmp")):
            if _TEMPORARY.fullmatch(path.name):
                yield Finding(
                    check="workspace/temporary",
                    severity="suspicion",
                    where=path.relative_to(root).as_posix(),
                    message="a half-written file that a crash left; nothing reads it",
                    repair="remove it",
                )


def _marker(fault: str, repair: str | None) -> Finding:
    return Finding(
        check="workspace/marker", severity="damage", where=MARKER, message=fault, repair=repair
    )


def _fault(said: dict) -> str | None:
    if said.get("schema_version") != SCHEMA_VERSION:
        return f"schema_version is {said.get('schema_version')!r}, expected {SCHEMA_VERSION}"
    if set(said) != {"schema_version", "created_at"}:
        return f"it says {sorted(said)}, expected schema_version and created_at"
    try:
        datetime.strptime(str(said["created_at"]), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return f"created_at is {said['created_at']!r}, expected such as 2026-01-31T12:00:00Z"
    return None
