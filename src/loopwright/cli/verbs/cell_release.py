"""``loopwright cell release``: end the newest stop of a cell, with an operator's signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.cells import read_cell, wait_for_line
from loopwright.core.errors import SafetyError, Untrusted
from loopwright.safety.guard.signals import LineState
from loopwright.safety.guard.stops import (
    is_released,
    newest_stop,
    put_release,
    read_stop_log,
    sign_release,
)
from loopwright.safety.keys import KeyRing, SigningKey

_WITHIN_S = 10.0


def main(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    /,
    *,
    key: Path,
    note: str,
) -> int:
    """Sign that the newest stop has been looked into, and that the robots may move again.

    The guards look for it and check it themselves. Exit code 0 means that the line is up again, or
    waits for parts that are not there yet.

    Args:
        folder: Of the cell's signals.
        key: Private key of an operator on the cell's key ring.
        note: What was found, and what was done; it is signed, and kept.
    """
    config = read_cell(folder)
    events, _ = read_stop_log(config.stop_log)
    stop = newest_stop(events)
    if stop is None or is_released(events):
        raise SafetyError(f"cell {config.name!r} has no stop that is not released")
    signer = SigningKey.read(key)
    holder = KeyRing.read(config.ring).holder(signer.id)
    if "operator" not in holder.roles:
        raise Untrusted(f"{holder.person} may not release a stop; that takes the role 'operator'")
    put_release(config.releases, sign_release(stop, signer, note))
    line = wait_for_line(config, {LineState.UP, LineState.ARMING}, _WITHIN_S)
    if line is None:
        raise SafetyError(
            f"stop {stop.number} is released, but the line of cell {config.name!r} stays down: "
            f"another fault is open, or the watchdog does not run; see {config.stop_log}"
        )
    robot = f" of {stop.robot}" if stop.robot else ""
    print(f"stop {stop.number}{robot} ({stop.reason}) released by {holder.person}: {note}")
    return 0
