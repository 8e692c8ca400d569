"""``loopwright new``: scaffold a scenario."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.errors import InvalidConfig
from loopwright.scenarios.scaffold import DEFAULT_ENVIRONMENT, write_scaffold


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    /,
    *,
    env: str = DEFAULT_ENVIRONMENT,
    into: Path = Path("."),
) -> int:
    """Write a folder with a scenario that works at once, to be made your own.

    With another environment than the default one, an expert is left to you: the scenario keeps its
    contract and policies can be judged on it, but the loop needs demonstrations.

    Args:
        name: Name of the scenario and of the folder.
        env: Id of a registered Gymnasium environment to start from.
        into: Where to make the folder.
    """
    folder = into / name
    if os.path.lexists(folder):
        raise InvalidConfig(f"{folder} exists already; choose another name or remove it")
    for path in write_scaffold(folder, name, env):
        print(path)
    if env != DEFAULT_ENVIRONMENT:
        print(
            f"loopwright: nobody but you knows how to solve {env}: write an expert (and look at "
            f"the judge) in {folder / 'scenario.py'} before 'loopwright run'; the README says how",
            file=sys.stderr,
        )
    return 0
