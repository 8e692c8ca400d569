"""``loopwright data gc``: free space that nothing names, in two phases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.errors import InvalidConfig
from loopwright.store.trash import Garbage, empty_trash, find_garbage, restore, throw_away
from loopwright.store.workspace import Workspace

_DAY_S = 86_400.0


def main(
    *,
    workspace: Path = Path("runs"),
    dry_run: bool = False,
    empty: Annotated[bool, tyro.conf.arg(name="empty")] = False,
    older_than_days: float = 7.0,
    put_back: Annotated[bool, tyro.conf.arg(name="put-back")] = False,
) -> int:
    """Move objects that nothing names to the trash; with --empty delete old trash for good.

    Episodes are never touched.

    Args:
        workspace: Folder that holds everything.
        dry_run: Say what would be moved and change nothing.
        empty: Delete what has been in the trash for long enough.
        older_than_days: How long that is.
        put_back: Put everything in the trash back instead.
    """
    if older_than_days < 0:
        raise InvalidConfig(f"older_than_days is {older_than_days}; expected 0 or more")
    if sum((dry_run, empty, put_back)) > 1:
        raise InvalidConfig("--dry-run, --empty and --put-back exclude each other; give one")
    with Workspace.open(workspace, exclusive=not dry_run) as place:
        if put_back:
            print(f"put back: {len(restore(place))} objects")
        elif empty:
            print(f"deleted: {_amount(empty_trash(place, older_than_s=older_than_days * _DAY_S))}")
        else:
            garbage = find_garbage(place)
            if dry_run:
                print(f"nothing names {_amount(garbage)}")
                return 0
            throw_away(place, garbage)
            print(f"moved to the trash: {_amount(garbage)}")
    return 0


def _amount(garbage: Garbage) -> str:
    return f"{len(garbage.digests)} objects, {garbage.size_bytes / 1e6:.1f} MB"
