"""Snapshots: the object and the file of each say the same, and every episode is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.store.doctor import Finding
from loopwright.store.episode_files import read_regular_file
from loopwright.store.snapshots import Snapshot

_BEGINS = b'{"episodes":['
_MOST_BYTES = 256 << 20


def examine_snapshots(
    root: Path, objects: Mapping[str, Path], episodes: frozenset[str], *, deep: bool
) -> Iterator[Finding]:
    """Look at every snapshot.

    Args:
        root: The workspace.
        objects: Digest to file of what lies among the objects.
        episodes: Ids of the episodes that are there.
        deep: Compare bytes, too.
    """
    known: dict[str, bytes] = {}
    for path in sorted((root / "snapshots").glob("*.json")):
        if path.name.startswith("."):
            continue
        data = _bytes(path)
        if data is None or (deep and digest_bytes(data) != path.stem):
            yield _finding(
                f"snapshots/{path.name}",
                "snapshot/file",
                "it cannot be read" if data is None else "its bytes have another digest",
                repair="keep the damaged file and write it anew from the object, if that is sound",
            )
            continue
        known[path.stem] = data
        if path.stem not in objects:
            yield _finding(
                f"objects/sha256/{path.stem[:2]}/{path.stem}",
                "snapshot/object",
                f"it is missing, but snapshots/{path.name} says the same",
                repair="restore it from the file",
            )
    for digest, path in objects.items():
        data = _snapshot_object(path)
        if data is None or digest in known or (deep and digest_bytes(data) != digest):
            continue
        known[digest] = data
        if not (root / f"snapshots/{digest}.json").exists():
            yield _finding(
                f"snapshots/{digest}.json",
                "snapshot/file",
                "it is missing, but the object says the same",
                repair="write it anew from the object",
            )
    for digest, data in sorted(known.items()):
        yield from _missing_episodes(digest, data, episodes)


def _missing_episodes(digest: str, data: bytes, episodes: frozenset[str]) -> Iterator[Finding]:
    try:
        snapshot = Snapshot.from_json(json.loads(data))
    except (ValueError, KeyError, TypeError, RecursionError, InvalidConfig) as error:
        yield _finding(f"snapshots/{digest}.json", "snapshot/unreadable", f"no snapshot: {error}")
        return
    missing = [episode for episode in snapshot.episodes if episode not in episodes]
    if missing:
        shown = ", ".join(str(episode)[:40] for episode in missing[:3])
        yield _finding(
            f"snapshots/{digest}.json",
            "snapshot/episodes",
            f"{len(missing)} of its {len(snapshot.episodes)} episodes are not here: {shown}"
            + (" and others" if len(missing) > 3 else "")
            + "; record them again, or make a snapshot without them",
        )


def _snapshot_object(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            if file.read(len(_BEGINS)) != _BEGINS:
                return None
            return _BEGINS + file.read(_MOST_BYTES)
    except OSError:
        return None


def _bytes(path: Path) -> bytes | None:
    try:
        return read_regular_file(path, most_bytes=_MOST_BYTES)
    except (OSError, DamagedData):
        return None


def _finding(where: str, check: str, message: str, repair: str | None = None) -> Finding:
    return Finding(check=check, severity="damage", where=where, message=message, repair=repair)
