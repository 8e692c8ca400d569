"""A cell of sliding robots in real processes, and the judge of whether they truly stopped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.safety.body import RobotEntry
from loopwright.safety.guard.actuators import read_truth
from loopwright.safety.guard.cell import Cell, PolicySide, run_cell
from loopwright.safety.guard.config import Bounds, CellConfig, Part, RobotConfig
from loopwright.safety.guard.signals import LineState
from loopwright.safety.keys import Holder, KeyRing, SigningKey

HERE = Path(__file__).parent


@dataclass
class Bench:
    """A running cell with what a test needs around it."""

    cell: Cell
    operator: SigningKey
    folder: Path
    size: int
    """Coordinates of each robot."""

    def truth(self, robot: str) -> np.ndarray:
        return read_truth(self.folder / f"{robot}.truth", self.size)

    def positions(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, 2 : 2 + self.size]

    def speeds(self, rows: np.ndarray) -> np.ndarray:
        return np.abs(rows[:, 2 + self.size :]).max(axis=1)

    def wait_moving(self, robot: str, within_s: float = 10.0) -> None:
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            rows = self.truth(robot)
            if len(rows) and self.speeds(rows[-1:])[0] > 0.1:
                return
            time.sleep(0.01)
        raise AssertionError(f"{robot} does not move; line {self.cell.line()}")

    def stopped_after(
        self,
        robot: str,
        fault_s: float,
        *,
        settle_s: float = 1.0,
        still: float = 1e-6,
        sag: float = 1e-9,
    ) -> float:
        """Return how long after a fault the robot stood for good, as the plant knows it.

        It must then have stood, without sagging, until the end of what was waited for.

        Args:
            robot: Which.
            fault_s: When the fault came.
            settle_s: How long to watch it.
            still: Speed that counts as standing.
            sag: How far it may move once it stands.
        """
        until_s = max(fault_s, time.monotonic()) + settle_s
        while time.monotonic() < until_s:
            time.sleep(0.02)
        rows = self.truth(robot)
        moving = np.flatnonzero(self.speeds(rows) > still)
        assert moving.size, f"{robot} never moved"
        last = int(moving[-1])
        assert last + 10 < len(rows), f"{robot} still moves: {rows[-1]}"
        assert np.ptp(self.positions(rows[last + 1 :]), axis=0).max() < sag, (
            f"{robot} does not hold"
        )
        return float(rows[last + 1, 0] - fault_s)


def to_and_fro() -> tuple[float, float]:
    """Return a speed that keeps the robot in motion and within its range for many seconds."""
    way = 1.0 if time.monotonic() % 2.0 < 1.0 else -1.0
    # The lift sags by 0.1 m/s.
    return 0.3 * way, 0.1 + 0.2 * way


class BusyPolicy:
    """A thread that asks for motion at 50 Hz."""

    def __init__(self, side: PolicySide) -> None:
        self._side = side
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(0.02):
            self._side.send(to_and_fro())

    def __enter__(self) -> BusyPolicy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.fall_silent()

    def fall_silent(self) -> float:
        """End without a word, as kill -9 would; return when."""
        self._over.set()
        self._thread.join()
        return time.monotonic()


def cell_config(
    folder: Path,
    operator: SigningKey,
    *,
    robots: int = 1,
    bounds: Bounds | None = None,
    priority: int = 50,
    **parts: Any,
) -> CellConfig:
    """Return a cell of sliding robots named r0, r1...; ``parts`` replace those of each robot."""
    folder.mkdir(exist_ok=True)
    ring = folder / "ring.json"
    holder = Holder(person="Olga", public=operator.public, roles=frozenset({"operator"}))
    ring.write_text(_json(KeyRing([holder]).to_json()))
    chosen = {
        "filter": Part(entry="sliding_robot:make_filter"),
        "recorder": Part(entry="sliding_robot:make_recorder", config={"folder": str(folder)}),
        "actuators": Part(
            entry="loopwright.safety.guard.actuators:make_plant_actuators",
            config={"truth": str(folder)},
        ),
        "entry": RobotEntry(body="sliding_robot:make_body", plant="sliding_robot:make_plant"),
        **parts,
    }
    return CellConfig(
        name="bench",
        robots=tuple(RobotConfig(name=f"r{number}", **chosen) for number in range(robots)),
        signals=folder / "signals",
        logs=folder / "logs",
        ring=ring,
        bounds=bounds or WIDE,
        priority=priority,
    )


WIDE = Bounds(late_s=0.4, guard_s=0.5, command_s=0.5, line_s=0.6, reading_s=0.6, policy_s=0.8)
"""For machines that run other things too: a test must not fail because it was stopped early."""


def _json(data: Any) -> str:
    import json

    return json.dumps(data)


@contextmanager
def bench(folder: Path, **chosen: Any) -> Iterator[Bench]:
    """Run a cell until the end of the block; its line is up when the block begins."""
    operator = SigningKey.new()
    config = cell_config(folder, operator, **chosen)
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    with run_cell(config, {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}) as cell:
        cell.wait_until(LineState.UP)
        yield Bench(cell=cell, operator=operator, folder=folder, size=cell.sizes["r0"])
