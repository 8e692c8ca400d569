from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import DamagedData, SafetyError
from loopwright.safety.decision import Reason
from loopwright.safety.guard.exchange import SignalReader, SignalWriter, create_signal
from loopwright.safety.guard.signals import (
    Command,
    GuardState,
    Reader,
    SignalPaths,
    Writer,
)

FLOATS = st.floats(allow_nan=False, width=64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_signal(tmp_path / "signal", "test", 3)
    return tmp_path / "signal"


def test_an_unwritten_signal_says_nothing(path: Path) -> None:
    assert SignalReader(path, "test", 3).read() is None


def test_the_newest_values_are_read_and_the_order_is_kept_over_restarts(path: Path) -> None:
    reader = SignalReader(path, "test", 3)
    for life in range(3):
        writer = SignalWriter(path, "test", 3)
        for number in range(5):
            sequence = writer.write((life, number, 0.5))
            sample = reader.read()
            assert sample is not None
            assert (sample.sequence, sample.values) == (sequence, (life, number, 0.5))
            assert sequence == 5 * life + number + 1
        writer.close()


@settings(max_examples=60, deadline=None)
@given(
    before=st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=5),
    cut=st.integers(0, 39),
)
def test_a_writer_that_dies_half_way_leaves_the_last_whole_values(
    before: list[tuple[float, float, float]],
    cut: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("signal") / "signal"
    create_signal(path, "test", 3)
    writer = SignalWriter(path, "test", 3)
    for values in before:
        writer.write(values)
    # The first bytes of the next slot, as memcpy would have written them.
    slot = writer._layout.pack(len(before) + 1, (7.0, 8.0, 9.0))
    place = writer._layout.place(len(before) + 1)
    whole = writer._memory[place : place + len(slot)]
    torn = slot[:cut] + whole[cut:]
    writer._memory[place : place + len(slot)] = torn
    sample = SignalReader(path, "test", 3).read()
    writer.close()
    assert sample is not None
    assert sample.values in (before[-1], (7.0, 8.0, 9.0))
    assert (sample.values == before[-1]) or torn == slot
    again = SignalWriter(path, "test", 3)
    again.write((1.0, 2.0, 3.0))
    fresh = SignalReader(path, "test", 3).read()
    assert fresh is not None
    assert fresh.values == (1.0, 2.0, 3.0)
    again.close()


def test_there_is_one_writer(path: Path) -> None:
    writer = SignalWriter(path, "test", 3)
    with pytest.raises(SafetyError, match="has a writer already"):
        SignalWriter(path, "test", 3)
    writer.close()
    SignalWriter(path, "test", 3).close()


def test_a_reader_cannot_write(path: Path) -> None:
    reader = SignalReader(path, "test", 3)
    with pytest.raises(TypeError):
        reader._memory[0:1] = b"x"


@pytest.mark.parametrize(("label", "count"), [("other", 3), ("test", 4), ("test", 2)])
def test_another_layout_is_refused(path: Path, label: str, count: int) -> None:
    with pytest.raises(DamagedData):
        SignalReader(path, label, count)


def test_creating_again_keeps_what_is_there(path: Path) -> None:
    writer = SignalWriter(path, "test", 3)
    writer.write((1, 2, 3))
    create_signal(path, "test", 3)
    sample = SignalReader(path, "test", 3).read()
    assert sample is not None
    assert sample.values == (1, 2, 3)


WRITING = """
import sys
from pathlib import Path
from loopwright.safety.guard.exchange import SignalWriter
writer = SignalWriter(Path(sys.argv[1]), "test", 3)
print("ready", flush=True)
number = 0.0
while True:
    number += 1.0
    writer.write((number, 2 * number, -number))
"""


def test_readers_never_see_a_mixture_while_another_process_writes_and_is_killed(
    path: Path,
) -> None:
    reader = SignalReader(path, "test", 3)
    newest = 0.0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITING, str(path)], stdout=subprocess.PIPE, env=os.environ
        )
        assert process.stdout is not None
        process.stdout.readline()
        sequence = 0
        for _ in range(4000):
            sample = reader.read()
            if sample is None:
                continue
            a, b, c = sample.values
            assert (b, c) == (2 * a, -a)
            assert sample.sequence >= sequence
            sequence = sample.sequence
            newest = max(newest, a)
        process.kill()
        process.communicate()
        assert reader.read() is not None
    assert newest > 1


def test_a_command_survives_the_trip(tmp_path: Path) -> None:
    paths = SignalPaths(tmp_path)
    paths.create({"arm": 3})
    command = Command(
        time_s=12.5,
        step=7,
        stopping=True,
        reason=Reason.LEASE,
        state=GuardState.LATCHED,
        latches=4,
        applied=np.array([0.1, np.nan, -3.0]),
    )
    Writer(paths.command("arm"), Command, 3).write(command)
    back = Reader(paths.command("arm"), Command, 3).read()
    assert back is not None
    np.testing.assert_array_equal(back.applied, command.applied)
    assert (back.time_s, back.step, back.stopping, back.reason, back.state, back.latches) == (
        12.5, 7, True, Reason.LEASE, GuardState.LATCHED, 4,
    )  # fmt: skip
