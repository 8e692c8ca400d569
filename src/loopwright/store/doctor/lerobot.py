"""LeRobot datasets of others (v2.1 and v3): does what is there add up to what is promised?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loopwright.store.doctor import Finding


def is_lerobot(folder: Path) -> bool:
    """Tell whether a folder is a LeRobot dataset."""
    return (folder / "meta/info.json").is_file()


def examine_lerobot(folder: Path, *, deep: bool = True) -> Iterator[Finding]:
    """Yield everything that is wrong with a LeRobot dataset; nothing is changed."""
    yield from ()
