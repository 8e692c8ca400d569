"""The whole of it at once: the seven-joint arm, the ladder, the black box, real processes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from guarded_cell import WIDE, bench

from loopwright.safety.guard.cell import PolicySide
from loopwright.safety.guard.config import Part
from loopwright.safety.guard.signals import LineState
from loopwright.safety.keys import Holder, KeyRing, SigningKey

pytest.importorskip("mujoco")


class Waving:
    """A policy that waves with all joints, at 50 Hz, in a thread."""

    def __init__(self, side: PolicySide) -> None:
        self._side, self._over = side, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            self._side.send(np.full(7, 0.25 * np.sin(2.0 * time.monotonic())))

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.slow
@pytest.mark.alone
def test_the_arm_with_a_load_holds_when_its_guard_dies_and_the_flight_says_why(
    tmp_path: Path,
) -> None:
    from loopwright.safety.blackbox.flight import read_flight
    from loopwright.safety.chain import verify_chain
    from loopwright.scenarios.arm7.plant import make_limits, robot_entry

    key = SigningKey.new()
    key.write(tmp_path / "recorder.key")
    limits = make_limits().to_json()
    config = {"folder": str(tmp_path), "key": str(tmp_path / "recorder.key"), "limits": limits}
    parts = "loopwright.safety.guard.parts"
    with bench(
        tmp_path,
        entry=robot_entry(payload_kg=1.0),
        filter=Part(entry=f"{parts}:make_ladder", config={"limits": limits}),
        recorder=Part(entry=f"{parts}:make_black_box", config=config),
    ) as cell:
        waving = Waving(cell.cell.policy_side("r0"))
        cell.wait_moving("r0", within_s=30.0)
        time.sleep(0.5)
        fault_s = time.monotonic()
        cell.cell.processes["guard:r0"].kill()
        stopped_s = cell.stopped_after("r0", fault_s, still=5e-3, sag=5e-3)
        assert stopped_s < max(WIDE.guard_s, WIDE.command_s) + 1.5
        stop = cell.cell.stop()
        assert stop is not None
        assert stop.reason == "DEADLINE"
        # Standing, and released, it moves on, in a second flight.
        cell.cell.processes["guard:r0"].wait()
        cell.cell.start("guard:r0")
        cell.cell.wait_until(LineState.DOWN)
        until_s = time.monotonic() + 20.0
        while cell.cell.stop() == stop and time.monotonic() < until_s:
            time.sleep(0.02)
        cell.cell.release(cell.operator, "the arm is free")
        cell.cell.wait_until(LineState.UP)
        cell.wait_moving("r0")
        waving.end()
    first, second = sorted(tmp_path.glob("*.flight"))
    ring = KeyRing([Holder(person="box", public=key.public, roles=frozenset({"recorder"}))])
    assert verify_chain(first, ring, None).verdict == "interrupted"
    assert verify_chain(second, ring, None).verdict == "intact"
    flight = read_flight(first)
    assert len(flight.steps) > 100
    moved = flight.steps["applied"][flight.steps["stopping"] == 0]
    assert np.abs(moved).max() > 0.05
    assert any("restarted" in note.text for note in read_flight(second).notes)
