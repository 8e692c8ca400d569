"""Freeing space in two phases: what nothing names goes to the trash, and later for good.

Marking is conservative: every 64-digit digest that occurs anywhere in the ledger or a snapshot is
a root, and so is every digest inside a root that is JSON (manifests, reports, snapshots). So a
reference can be missed by nobody who writes one; at worst, garbage is kept. What is marked moves to
``trash/`` by rename, from where it comes back whole; only emptying the trash deletes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loopwright.store.durable import make_folder, storing, sync
from loopwright.store.workspace import Workspace

GRACE_S = 3600.0
"""Objects younger than this are kept: their first mention may still be on its way."""
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_LARGEST_JSON_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Garbage:
    """Objects that nothing names."""

    digests: tuple[str, ...]
    size_bytes: int


def find_garbage(workspace: Workspace, *, grace_s: float = GRACE_S) -> Garbage:
    """Return the objects that nothing names, older than ``grace_s``.

    Raises:
        StorageError: The operating system refused.
    """
    with storing(workspace.root):
        reachable = _reachable(workspace)
        newest = time.time() - grace_s
        found = [
            (path.name, path.stat().st_size)
            for path in _objects(workspace)
            if path.name not in reachable and path.stat().st_mtime <= newest
        ]
    return Garbage(digests=tuple(sorted(d for d, _ in found)), size_bytes=sum(s for _, s in found))


def throw_away(workspace: Workspace, garbage: Garbage) -> None:
    """Move garbage to the trash; the workspace must be open exclusively.

    Raises:
        StorageError: The operating system refused; each object is either here or there.
    """
    trash = workspace.root / "trash"
    with storing(trash):
        make_folder(trash)
        for digest in garbage.digests:
            place = workspace.objects.path(digest, verify=False)
            os.rename(place, trash / digest)
            os.utime(trash / digest)  # it is as old as its stay in the trash
        sync(trash)
    if garbage.digests:
        workspace.ledger.add_event(
            "garbage thrown away", objects=len(garbage.digests), size_bytes=garbage.size_bytes
        )


def restore(workspace: Workspace) -> tuple[str, ...]:
    """Put everything in the trash back and return the digests.

    Raises:
        StorageError: The operating system refused.
    """
    restored = []
    with storing(workspace.root):
        for path in _trash(workspace):
            folder = workspace.objects.root / "sha256" / path.name[:2]
            make_folder(folder)
            os.rename(path, folder / path.name)
            sync(folder)
            restored.append(path.name)
    return tuple(restored)


def empty_trash(workspace: Workspace, *, older_than_s: float) -> Garbage:
    """Delete for good what has been in the trash for longer than ``older_than_s``.

    Raises:
        StorageError: The operating system refused.
    """
    deleted: list[tuple[str, int]] = []
    with storing(workspace.root):
        for path in _trash(workspace):
            status = path.stat()
            if status.st_mtime <= time.time() - older_than_s:
                path.unlink()
                deleted.append((path.name, status.st_size))
    return Garbage(
        digests=tuple(digest for digest, _ in deleted), size_bytes=sum(s for _, s in deleted)
    )


def _reachable(workspace: Workspace) -> set[str]:
    """Return every digest that the ledger or a snapshot names, directly or through objects."""
    reached: set[str] = set()
    waiting: list[str] = []

    def name(text: bytes) -> None:
        fresh = {match.decode() for match in _DIGEST.findall(text)} - reached
        reached.update(fresh)
        waiting.extend(fresh)

    for text in workspace.ledger.all_text():
        name(text.encode())
    for snapshot in workspace.snapshots_folder.iterdir():
        name(snapshot.name.encode() + b" " + snapshot.read_bytes())
    while waiting:
        digest = waiting.pop()
        if workspace.objects.has(digest):
            name(_json_text(workspace.objects.path(digest, verify=False)))
    return reached


def _json_text(path: Path) -> bytes:
    """Return the bytes of a file that looks like JSON, else nothing."""
    if path.stat().st_size > _LARGEST_JSON_BYTES:
        return b""
    with path.open("rb") as file:
        first = file.read(1)
        return first + file.read() if first in (b"{", b"[") else b""


def _objects(workspace: Workspace) -> Iterator[Path]:
    for shard in sorted((workspace.objects.root / "sha256").iterdir()):
        yield from sorted(shard.iterdir())


def _trash(workspace: Workspace) -> list[Path]:
    trash = workspace.root / "trash"
    return sorted(trash.iterdir()) if trash.is_dir() else []
