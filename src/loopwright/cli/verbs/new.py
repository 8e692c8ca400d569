"""``loopwright new``: scaffold a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.errors import InvalidConfig
from loopwright.scenarios.scaffold import write_scaffold


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    /,
    *,
    env: str = "Reacher-v5",
    into: Path = Path("."),
) -> int:
    """Write a folder with a scenario that works at once, to be made your own.

    Args:
        name: Name of the scenario and of the folder.
        env: Id of a registered Gymnasium environment to start from.
        into: Where to make the folder.
    """
    folder = into / name
    if folder.exists():
        raise InvalidConfig(f"{folder} exists already; choose another name or remove it")
    for path in write_scaffold(folder, name, env):
        print(path)
    return 0
