"""Finding the episode or the snapshot that a verb is about, by the beginning of its name."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from loopwright.core.errors import UnknownName, UsageError
from loopwright.store.curate import snapshot_digests
from loopwright.store.ledger import EpisodeRow
from loopwright.store.workspace import Workspace


def find_episode(workspace: Workspace, name: str) -> EpisodeRow:
    """Return the episode whose id begins with ``name``.

    Raises:
        UsageError: None does, or several do.
    """
    identity = unique_beginning("episode", name, workspace.ledger.episode_ids())
    row = workspace.ledger.episode(identity)
    assert row is not None, "its id was among those on record"
    return row


def find_snapshot(workspace: Workspace, name: str) -> str:
    """Return the digest of the snapshot that begins with ``name``.

    Raises:
        UsageError: None does, or several do.
    """
    return unique_beginning("snapshot", name, snapshot_digests(workspace))


def find_recorded(workspace: Workspace, name: str) -> EpisodeRow | str:
    """Return the episode, or the digest of the snapshot, that begins with ``name``.

    Raises:
        UsageError: None does, or several do.
    """
    digests = snapshot_digests(workspace)
    found = unique_beginning(
        "snapshot or episode", name, {*digests, *workspace.ledger.episode_ids()}
    )
    return found if found in digests else find_episode(workspace, found)


def unique_beginning(what: str, name: str, known: Collection[str]) -> str:
    """Return the one of ``known`` that begins with ``name``.

    Raises:
        UsageError: None does, or several do.
    """
    if name in known:
        return name
    found = sorted(k for k in known if name and k.startswith(name))
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(f[: len(name) + 4] for f in found[:3])
        raise UsageError(
            f"{len(found)} names begin with {name!r} ({some}{', …' if found[3:] else ''}); "
            "type more of it"
        )
    # Compared by as many digits as were typed: whole names are never near a short one.
    beginnings = sorted({k[: len(name)] for k in known})
    near = difflib.get_close_matches(name, beginnings, n=3, cutoff=0.6)
    if near:
        raise UnknownName(what, name, near)
    raise UsageError(
        f"unknown {what} {name!r}; there are {len(known)}, and 'loopwright data show' lists them"
    )
