"""The ledger's log is looked at before SQLite replays it and forgets what lies behind damage."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loopwright.core.errors import DamagedData
from loopwright.store.ledger.log import read_log
from loopwright.store.workspace import Workspace

FRAME_BYTES = 24 + 4096
EVENTS = 5

WRITER = """
import os, signal, sys
from pathlib import Path
from loopwright.store.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]), exclusive=True)
for number in range(int(sys.argv[2])):
    workspace.ledger.add_event("before the kill", number=number)
if sys.argv[3] == "mid-transaction":
    connection = workspace.ledger._database._connection
    connection.execute("PRAGMA cache_size = 2")  # so that pages reach the log before the end
    connection.execute("BEGIN IMMEDIATE")
    for number in range(40):
        row = (0.0, "never committed", '{"x": "' + "x" * 3000 + '"}')
        connection.execute("INSERT INTO events (time, name, data) VALUES (?, ?, ?)", row)
os.kill(os.getpid(), signal.SIGKILL)
"""


def write_and_die(root: Path, events: int, how: str = "between transactions") -> None:
    done = subprocess.run([sys.executable, "-c", WRITER, root, str(events), how], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Return a workspace whose last transactions are in the ledger's log only."""
    root = tmp_path / "ws"
    Workspace.create(root).close()
    write_and_die(root, EVENTS)
    return root


def number_of_events(root: Path, *, exclusive: bool = True) -> int:
    with Workspace.open(root, exclusive=exclusive) as workspace:
        return len(workspace.ledger.events())


@pytest.mark.parametrize("exclusive", [True, False])
def test_no_flipped_byte_undoes_a_transaction_that_others_followed(
    killed: Path, tmp_path: Path, exclusive: bool
) -> None:
    whole = (killed / "ledger.db-wal").read_bytes()
    last_frame = len(whole) - FRAME_BYTES
    refused = 0
    places = np.random.default_rng(0).integers(0, len(whole), 30).tolist()
    for place in [*range(0, 56, 3), *places]:
        hurt = tmp_path / "hurt"
        shutil.copytree(killed, hurt)
        changed = bytearray(whole)
        changed[place] ^= 0x10
        log = hurt / "ledger.db-wal"
        log.write_bytes(changed)
        try:
            # A transaction that was not finished and one that was damaged look alike at the end.
            assert number_of_events(hurt, exclusive=exclusive) >= EVENTS - 1
            assert place >= last_frame or number_of_events(hurt) == EVENTS
        except DamagedData as error:
            refused += 1
            message = str(error)
            assert "ledger.db-wal" in message
            assert "data doctor" in message
            frame = (place - 32) // FRAME_BYTES + 1
            assert place < 32 or f"frame {frame} of " in message
            assert log.read_bytes() == changed
        shutil.rmtree(hurt)
    assert refused > 25


@pytest.mark.parametrize("cut_bytes", [1, 100, FRAME_BYTES, FRAME_BYTES + 8])
def test_a_torn_end_is_what_a_crash_leaves(killed: Path, cut_bytes: int) -> None:
    log = killed / "ledger.db-wal"
    log.write_bytes(log.read_bytes()[:-cut_bytes])
    assert number_of_events(killed) == EVENTS - 1


def test_a_header_that_was_never_filled_is_what_a_crash_leaves(killed: Path) -> None:
    (killed / "ledger.db-wal").write_bytes(bytes(32 + FRAME_BYTES))
    # What the log held was never durable, and what the database itself holds stays.
    assert number_of_events(killed) == 0


def test_what_a_killed_transaction_left_behind_the_end_is_no_damage(killed: Path) -> None:
    write_and_die(killed, 0, "mid-transaction")
    whole = read_log((killed / "ledger.db-wal").read_bytes())
    assert whole.commits_lost == 0  # frames without an end, which nobody misses
    write_and_die(killed, 1)
    log = read_log((killed / "ledger.db-wal").read_bytes())
    assert log.frames == whole.frames  # some of which the shorter transaction has overwritten
    assert log.bad
    assert log.commits_lost == 0
    assert number_of_events(killed) == EVENTS + 1
