"""A directive, and a tower out of reach, stop a cell of real processes."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from guarded_cell import BusyPolicy, bench
from register_site import Site, deployment

from loopwright.safety.directive.tower import Tower
from loopwright.safety.guard.config import Part
from loopwright.safety.guard.signals import LineState

LEASE_S = 3.0


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("reason", ["GROUNDED", "LEASE"])
def test_an_order_and_a_cut_network_stop_the_robot(tmp_path: Path, reason: str) -> None:
    site, cell = Site(tmp_path), deployment("cell-1")
    register = site.begin()
    register.append(site.deployed(register, cell))
    (tmp_path / "register-ring.json").write_text(json.dumps(site.ring.to_json()))
    watch = Part(
        entry="loopwright.safety.guard.parts:make_directive_watch",
        config={
            "register": str(site.place),
            "ring": str(tmp_path / "register-ring.json"),
            "deployment": cell.to_json(),
        },
    )
    tower = Tower(site.place, site.ring, site.keys["tower"], lease_s=LEASE_S)
    over = threading.Event()
    answering = threading.Thread(target=tower.run, args=(over,))
    answering.start()
    try:
        with bench(tmp_path / "cell", watch=watch) as arm, BusyPolicy(arm.cell.policy_side("r0")):
            arm.wait_moving("r0")
            fault_s = time.monotonic()
            if reason == "GROUNDED":
                register.append(site.directive(register))
            else:
                over.set()
            arm.cell.wait_until(LineState.DOWN)
            wait_s = 2.0 if reason == "GROUNDED" else LEASE_S + 1.0
            assert arm.stopped_after("r0", fault_s) < wait_s + 1.0
            stop = arm.cell.stop()
            assert stop is not None
            assert stop.reason == reason
    finally:
        over.set()
        answering.join()
        tower.close()
