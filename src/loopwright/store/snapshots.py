"""Snapshots: which episodes a training set is made of, in which order, by which labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopwright.core.digest import canonical_json, digest_file, digest_json
from loopwright.core.errors import InvalidConfig
from loopwright.store.durable import write_text_file
from loopwright.store.objects import DamagedObject
from loopwright.store.workspace import Workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A training set, exactly."""

    episodes: tuple[str, ...]
    """Episode ids, in order."""
    label_filter: str | None = None
    """The rule by which they were chosen (``"kind demo; whole"``), for people and for the digest;
    None if they were named one by one."""
    split_seed: int = 0
    """Seed of the split into training and validation."""

    def __post_init__(self) -> None:
        """Refuse what is no id, and an episode that is named twice."""
        if strange := [e for e in self.episodes if not isinstance(e, str)]:
            raise InvalidConfig(f"a snapshot names episodes by their ids, not by {strange[0]!r}")
        if len(set(self.episodes)) != len(self.episodes):
            twice = sorted({e for e in self.episodes if self.episodes.count(e) > 1})
            raise InvalidConfig(f"a snapshot names each episode once, but {twice} come again")

    @property
    def digest(self) -> str:
        """SHA-256 over everything."""
        return digest_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "episodes": list(self.episodes),
            "label_filter": self.label_filter,
            "split_seed": self.split_seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Snapshot:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**data, "episodes": tuple(data["episodes"])})


def save_snapshot(workspace: Workspace, snapshot: Snapshot) -> str:
    """Store a snapshot as an object, and as a file for people; return its digest.

    Raises:
        StorageError: The operating system refused.
    """
    digest = workspace.objects.put_json(snapshot.to_json())
    path = _path(workspace, digest)
    if not path.exists():
        write_text_file(path, canonical_json(snapshot.to_json()).decode(), "snapshot")
    return digest


def load_snapshot(workspace: Workspace, digest: str) -> Snapshot:
    """Return a snapshot, checked; if its object is damaged, it is made good from the file.

    Raises:
        DamagedObject: Both the object and the file are missing or damaged.
        InvalidConfig: The object is no snapshot.
    """
    try:
        data = workspace.objects.read_json(digest)
    except DamagedObject:
        path = _path(workspace, digest)
        if not path.is_file() or digest_file(path) != digest:
            raise
        workspace.objects.put_file(path)
        data = workspace.objects.read_json(digest)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"object {digest} is no snapshot: {error}") from error
    try:
        return Snapshot.from_json(data)
    except (KeyError, TypeError) as error:
        raise InvalidConfig(f"object {digest} is no snapshot: {error!r}") from error


def _path(workspace: Workspace, digest: str) -> Path:
    return workspace.snapshots_folder / f"{digest}.json"
