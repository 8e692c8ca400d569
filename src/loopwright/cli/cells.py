"""What the verbs about a running cell share: where it lies, and what its line says."""

from __future__ import annotations

import time
from pathlib import Path

from loopwright.core.errors import DamagedData
from loopwright.safety.guard.cell import CONFIG
from loopwright.safety.guard.config import CellConfig
from loopwright.safety.guard.signals import Line, LineState, Reader, SignalPaths

_LOOK_EVERY_S = 0.02


def read_cell(folder: Path) -> CellConfig:
    """Return the configuration of the cell whose signals lie in a folder.

    Raises:
        DamagedData: No cell was started there.
    """
    if not (folder / CONFIG).is_file():
        raise DamagedData(
            f"{folder} holds no {CONFIG}; expected the folder of a cell's signals, which a cell "
            "makes when it starts"
        )
    return CellConfig.read(folder / CONFIG)


def wait_for_line(config: CellConfig, states: set[LineState], within_s: float) -> Line | None:
    """Wait until the line says one of some things; return it, or None if it does not.

    A line whose watchdog is silent says nothing, whatever was written last.
    """
    line = Reader(SignalPaths(config.signals).line, Line)
    try:
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            said = line.read()
            is_alive = said is not None and time.monotonic() - said.time_s <= config.bounds.line_s
            if said is not None and is_alive and said.state in states:
                return said
            time.sleep(_LOOK_EVERY_S)
    finally:
        line.close()
    return None
