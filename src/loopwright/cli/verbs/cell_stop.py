"""``loopwright cell stop``: the stop button of a cell, from a terminal."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.cells import read_cell, wait_for_line
from loopwright.core.errors import SafetyError
from loopwright.safety.guard.signals import LineState
from loopwright.safety.guard.stops import press_stop

_WITHIN_S = 2.0


def main(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    /,
    *,
    why: str = "",
    by: str | None = None,
) -> int:
    """Stop every robot of a cell; they stay stopped until an operator signs the release.

    Anybody may stop. Exit code 0 means that the watchdog has dropped the line.

    Args:
        folder: Of the cell's signals.
        why: What is wrong.
        by: Who stops it; the user of this terminal by default.
    """
    config = read_cell(folder)
    press_stop(config.signals, who=by or getpass.getuser(), why=why)
    line = wait_for_line(config, {LineState.DOWN}, _WITHIN_S)
    if line is None:
        raise SafetyError(
            f"the button of cell {config.name!r} is pressed, but its watchdog did not drop the "
            f"line within {_WITHIN_S:.0f} s; use the switch on the wall"
        )
    print(
        f"cell {config.name!r} is stopped (stop {line.stop}, {line.reason.name}); release with: "
        f'loopwright cell release {folder} --key KEY --note "what was found"'
    )
    return 0
