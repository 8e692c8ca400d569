"""``loopwright occurrence stage``: a drill, from a staged violation to a scenario in the suite."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli import EXIT_FAILED
from loopwright.recipes.drill import Cause, stage

GOAL_S = 60.0


def main(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = Path("drill"),
    /,
    *,
    cause: Cause = "no-envelope",
    seconds: float = 4.0,
    seed: int = 0,
) -> int:
    """Let the simulated arm break a limit, and do everything that follows from that.

    Flight, occurrence, frozen evidence, exact replay, minimised scenario in the suite, run again
    as recorded and mended: each with the seconds it took. The drill has keys and a register of its
    own in its folder. Exit code 0 if all of it held within 60 s.

    Args:
        folder: New or empty.
        cause: What goes wrong.
        seconds: How long the flight takes, in simulation.
        seed: Fixes where the arm starts, and at which wall the policy drives.
    """
    begin_s, holds = time.monotonic(), True
    for step in stage(folder, cause=cause, seconds=seconds, seed=seed):
        holds = holds and step.holds
        print(f"{step.seconds:6.2f} s  {step.name:9} {'' if step.holds else 'NO: '}{step.detail}")
    total_s = time.monotonic() - begin_s
    print(f"{total_s:6.2f} s  in all; the goal is {GOAL_S:.0f} s")
    return 0 if holds and total_s <= GOAL_S else EXIT_FAILED
