"""A policy in a process of its own: asks for motion at 50 Hz until it is killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from guarded_cell import to_and_fro

from loopwright.safety.guard.cell import PolicySide

if __name__ == "__main__":
    side = PolicySide(Path(sys.argv[1]), sys.argv[2], 2)
    while True:
        side.send(to_and_fro())
        time.sleep(0.02)
