"""A folder that appears whole under its name, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopwright.core.errors import InvalidConfig
from loopwright.store.durable import if_abandoned, storing, sync, try_lock
from loopwright.store.workspace import Workspace

_SUFFIX = ".partial"


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``final`` that gets its name when the block ends well.

    Whatever goes wrong in the block, nothing is left behind. What a killed process left behind is
    removed the next time the same name is made.

    Raises:
        InvalidConfig: There is a file of that name, or a folder with content.
        StorageError: The operating system refused.
    """
    refuse_occupied(final)
    with storing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(final)
        temporary = final.parent / f".{final.name}.{os.urandom(4).hex()}{_SUFFIX}"
        temporary.mkdir()
        lock = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try_lock(lock)
        yield temporary
        refuse_occupied(final)
        with storing(final):
            sync(temporary)
            os.rename(temporary, final)
            sync(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


def refuse_occupied(folder: Path) -> None:
    """Raise :class:`InvalidConfig` unless ``folder`` is free: absent, or an empty folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InvalidConfig(f"{folder} is no folder; choose a name that is not taken")
    if folder.is_dir() and any(folder.iterdir()):
        raise InvalidConfig(
            f"{folder} is not empty; an export never writes into what is there: "
            "choose a new name, or remove it first"
        )


def refuse_place(workspace: Workspace, folder: Path) -> None:
    """Raise :class:`InvalidConfig` unless an export may appear as ``folder``.

    It must be free, and inside the workspace only the views are for exports.
    """
    refuse_occupied(folder)
    root = workspace.root
    if folder.is_relative_to(root) and not folder.is_relative_to(root / "views"):
        raise InvalidConfig(
            f"{folder} lies inside the workspace {root}, where only {root / 'views'} is free for "
            "exports; choose a folder there or elsewhere"
        )


def _sweep(final: Path) -> None:
    """Remove what killed processes left behind under temporary names of ``final``."""
    for left in final.parent.glob(f".{_literal(final.name)}.*{_SUFFIX}"):
        with if_abandoned(left) as abandoned:
            if abandoned:
                shutil.rmtree(left, ignore_errors=True)


def _literal(name: str) -> str:
    """Return a pattern that matches ``name`` and nothing else."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
