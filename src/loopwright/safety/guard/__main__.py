"""One process of a cell: ``python -m loopwright.safety.guard guard|drive|watchdog CELL [ROBOT]``.

``CELL`` is the file that :meth:`CellConfig.to_json` describes. Under a supervisor such as systemd
leave ``--parent`` away; with it, the process ends when that parent does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from loopwright.safety.guard.config import CellConfig
from loopwright.safety.guard.process import Ending, live, make_drive, make_guard, make_watchdog


def main() -> None:
    """Be the process that the arguments name."""
    parser = argparse.ArgumentParser(prog="loopwright.safety.guard")
    parser.add_argument("role", choices=("guard", "drive", "watchdog"))
    parser.add_argument("cell", type=Path)
    parser.add_argument("robot", nargs="?")
    parser.add_argument("--parent", type=int)
    given = parser.parse_args()
    if (given.robot is None) != (given.role == "watchdog"):
        parser.error("a guard and a drive are of one robot, a watchdog of all")
    config, ended = CellConfig.read(given.cell), Ending(given.parent)
    # The watchdog goes first, then the drive that it can stop, then who is watched.
    if given.role == "watchdog":
        made, above = make_watchdog(config), 2
    elif given.role == "drive":
        made, above = make_drive(config, given.robot), 1
    else:
        made, above = make_guard(config, given.robot), 0
    live(made, priority=config.priority + above if config.priority else 0, ended=ended)


if __name__ == "__main__":
    main()
