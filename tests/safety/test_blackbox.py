"""The black box records every step, or says at once that it does not."""

from __future__ import annotations

import errno
import os
import resource
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from double_integrator import SIZE, STEP_S, Masses, flight_header, step_record
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from loopwright.core.errors import DamagedData, InvalidConfig, RecorderLost, Untrusted
from loopwright.safety.blackbox import (
    FIELDS,
    BlackBox,
    Flight,
    FlightHeader,
    StepRecord,
    plant_of,
    read_flight,
    replay,
    require_mandatory,
    summarise,
)
from loopwright.safety.blackbox.fields import Layout
from loopwright.safety.body import RobotEntry
from loopwright.safety.chain import ChainWriter, read_chain, verify_chain
from loopwright.safety.decision import Reason
from loopwright.safety.keys import Holder, KeyRing, SigningKey

KEY = SigningKey.new()
RING = KeyRing([Holder(person="recorder 7", public=KEY.public, roles=frozenset({"recorder"}))])
STILL = Masses().reset(0)
ZEROS = np.zeros(SIZE)


def fly(path: Path, *, steps: int = 400, second: Path | None = None) -> Masses:
    """Drive into the wall, with a snapshot before the start and one in the middle of a contact."""
    plant, draw = Masses(), np.random.default_rng(5)
    measured = plant.reset(1)
    touched = False
    with BlackBox(path, flight_header(), KEY, second) as box:
        box.note("instruction", "go")
        box.snapshot(plant.save(), 0)
        for step in range(steps):
            if plant.touching and not touched:
                touched = True
                box.snapshot(plant.save(), step)
            wish = draw.uniform(0.0, 9.0, SIZE)
            applied = np.minimum(wish, 5.0)
            stopping = step % 50 > 40
            reason = Reason.BRAKED if stopping else Reason.CLAMPED
            box.step(
                step_record(step, wish, measured, applied=applied, reason=reason, stopping=stopping)
            )
            measured = plant.stop() if stopping else plant.step(applied)
    assert touched or steps < 400
    return plant


def read_by_table(path: Path) -> list[dict[str, Any]]:
    """A reader that knows nothing but the table in the header."""
    chain = read_chain(path)
    codes = {"<u1": "B", "<u2": "H", "<u4": "I", "<u8": "Q", "<f8": "d"}
    rows = []
    for kind, payload in chain:
        if kind != chain.header["kinds"]["step"]:
            continue
        at, row = 0, {}
        for field in chain.header["fields"]:
            layout = struct.Struct(f"<{field['count']}{codes[field['type']]}")
            values = layout.unpack_from(payload, at)
            row[field["name"]] = list(values) if field["each"] else values[0]
            at += layout.size
        rows.append(row)
    return rows


def test_a_flight_is_read_as_it_was_flown_also_by_the_table_alone(tmp_path: Path) -> None:
    path = tmp_path / "flight"
    fly(path, steps=60, second=tmp_path / "heads")
    flight = read_flight(path)
    assert flight.header == flight_header()
    by_table = read_by_table(path)
    assert len(by_table) == len(flight.steps) == 60
    for name in flight.steps.dtype.names or ():
        assert flight.steps[name].tolist() == [row[name] for row in by_table]
    assert flight.steps["sequence"].tolist() == list(range(60))
    assert flight.steps["lease_left_s"][7] == 21.5
    assert verify_chain(path, RING, tmp_path / "heads").verdict == "intact"


@given(
    numbers=arrays(np.float64, (4, SIZE), elements=st.floats(width=64)),
    sequence=st.integers(0, 2**64 - 1),
    margin=st.floats(),
)
def test_every_float64_is_recorded_bit_by_bit(
    numbers: np.ndarray, sequence: int, margin: float
) -> None:
    wish, position, speed, applied = numbers
    record = StepRecord(
        sequence=sequence,
        monotonic_s=1.5,
        requested=wish,
        request_age_s=np.inf,
        position=position,
        speed=speed,
        sensor_age_s=0.0,
        applied=applied,
        reason=Reason.FORECAST,
        margin=margin,
        stopping=True,
    )
    payload = Layout(SIZE).pack(record)
    assert payload[-4 * SIZE * 8 :] == numbers.tobytes()
    assert struct.unpack_from("<Q", payload)[0] == sequence
    assert payload[32:40] == struct.pack("<d", margin)


class Hostile:
    """Code that must not run in the process that moves a robot."""

    def __repr__(self) -> str:
        raise RuntimeError("called")

    __str__ = __array__ = __bytes__ = __len__ = __iter__ = __getattr__ = __repr__  # type: ignore


class HostileArray(np.ndarray):
    def tobytes(self, *_: object) -> bytes:  # type: ignore[override]
        raise RuntimeError("called")


OBJECTS = np.empty(SIZE, object)
OBJECTS.fill(Hostile())
MALFORMED: list[tuple[object, int, bytes]] = [
    (None, 1, b""),
    (b"\x00\xff" * 300, 2, b"\x00\xff" * 128),
    (np.arange(2.0), 3, b"<f8 (2,)\n" + np.arange(2.0).tobytes()),
    (np.array([True] * SIZE), 3, b"|b1 (3,)\n\x01\x01\x01"),
    (OBJECTS, 3, b"|O (3,)\n"),
    ([0.5, "a", None], 4, b"list(0.5, 'a', None)"),
    ("w" * 10_000, 4, b"'" + b"w" * 255),
    (10**5000, 4, b"<int>"),
    ([[[[]]]], 4, b"list(list(<builtins.list>))"),
    (Hostile(), 4, b"<test_blackbox.Hostile>"),
    (np.zeros(SIZE).view(HostileArray), 4, b"<test_blackbox.HostileArray>"),
    ("\ud800", 4, rb"'\ud800'"),
]


def test_malformed_requests_are_recorded_short_and_run_no_code(tmp_path: Path) -> None:
    with BlackBox(tmp_path / "f", flight_header(), KEY) as box:
        for number, (request, _, _) in enumerate(MALFORMED):
            box.step(step_record(number, request, STILL, applied=ZEROS))
    flight = read_flight(tmp_path / "f")
    assert flight.steps["request_form"].tolist() == [form for _, form, _ in MALFORMED]
    found = [flight.excerpts.get(n, b"") for n in range(len(MALFORMED))]
    assert found == [raw for _, _, raw in MALFORMED]
    assert np.isnan(flight.steps["requested"]).all()
    assert flight.steps["request_bytes"][1] == 600
    assert summarise(flight).malformed == len(MALFORMED)


def test_integers_and_float32_are_numbers_and_nan_is_kept(tmp_path: Path) -> None:
    wishes = [
        np.array([1, 2, 3]),
        np.array([0.1, np.inf, -0.0], np.float32),
        np.array([np.nan, 1e300, -0.0]),
        np.arange(6.0)[::2],
    ]
    with BlackBox(tmp_path / "f", flight_header(), KEY) as box:
        for number, wish in enumerate(wishes):
            box.step(step_record(number, wish, STILL, applied=ZEROS))
    flight = read_flight(tmp_path / "f")
    for row, wish in zip(flight.steps, wishes, strict=True):
        assert row["requested"].tobytes() == wish.astype(np.float64).tobytes()
        assert row["request_form"] == 0


def test_replay_is_bit_exact_from_the_start_and_from_within_a_contact(tmp_path: Path) -> None:
    fly(tmp_path / "f")
    flight = read_flight(tmp_path / "f")
    assert len(flight.snapshots) == 2
    for start in flight.snapshots:
        report = replay(flight, plant_of(flight, trusted=True), start)
        assert report.exact
        assert report.steps == 400 - start.next_step
        assert report.same_build


def test_replay_names_the_first_step_that_differs(tmp_path: Path) -> None:
    fly(tmp_path / "f")
    flight = read_flight(tmp_path / "f")
    bent = flight.steps.copy()
    bent["applied"][100] = np.nextafter(bent["applied"][100], 9.0)
    report = replay(changed(flight, bent), Masses())
    assert not report.exact
    assert report.first_difference == 101
    assert 0 < report.worst_speed < 1e-9
    gap = replay(changed(flight, np.delete(flight.steps, 200)), Masses())
    assert (gap.exact, gap.missing) == (False, 1)
    rounded = flight.steps.copy()
    rounded["applied"] = rounded["applied"].astype(np.float32)
    assert not replay(changed(flight, rounded), Masses()).exact


def changed(flight: Flight, steps: np.ndarray) -> Flight:
    values = {name: getattr(flight, name) for name in Flight.__dataclass_fields__}
    return Flight(**(values | {"steps": steps}))


def test_replay_needs_a_snapshot_and_the_same_body(tmp_path: Path) -> None:
    with BlackBox(tmp_path / "f", flight_header(), KEY) as box:
        box.step(step_record(0, ZEROS, STILL))
    with pytest.raises(InvalidConfig, match="no snapshot"):
        replay(read_flight(tmp_path / "f"), Masses())


def keep_stepping(box: BlackBox, *, first: int = 0, pause_s: float = 0.0) -> None:
    for number in range(first, first + 1000):
        box.step(step_record(number, ZEROS, STILL))
        time.sleep(pause_s)


@contextmanager
def longest_file(num_bytes: int) -> Iterator[None]:
    """Let the operating system refuse, for real, what goes beyond a length."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_not_grow_is_a_lost_recorder_at_that_step(tmp_path: Path) -> None:
    path = tmp_path / "f"
    box = BlackBox(path, flight_header(), KEY, checkpoint_s=60.0)
    box.step(step_record(0, ZEROS, STILL))
    room = path.stat().st_size + 1000
    with longest_file(room), pytest.raises(RecorderLost, match="nothing may move"):
        keep_stepping(box, first=1)
    with pytest.raises(RecorderLost):  # also when there is room again: the flight has a gap
        box.step(step_record(100, ZEROS, STILL))
    box.close()
    flight = read_flight(path)
    assert flight.steps["sequence"].tolist() == list(range(len(flight.steps)))
    assert 1 < len(flight.steps) < 10
    assert flight.torn_bytes == 0
    assert verify_chain(path, RING).verdict == "interrupted"


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_a_refused_write_is_raised_at_that_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(fault, os.strerror(fault))

    box = BlackBox(tmp_path / "f", flight_header(), KEY)
    box.step(step_record(0, ZEROS, STILL))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(RecorderLost, match=os.strerror(fault)):
            box.step(step_record(1, ZEROS, STILL))
    with pytest.raises(RecorderLost):
        box.note("operator", "stop")
    box.close()
    assert len(read_flight(tmp_path / "f").steps) == 1


def test_a_removed_file_is_raised_at_that_step(tmp_path: Path) -> None:
    box = BlackBox(tmp_path / "f", flight_header(), KEY)
    box.step(step_record(0, ZEROS, STILL))
    (tmp_path / "f").unlink()
    with pytest.raises(RecorderLost, match="removed"):
        box.step(step_record(1, ZEROS, STILL))
    box.close()


@pytest.mark.parametrize("what", ["disk", "second place"])
def test_a_checkpoint_that_fails_is_raised_at_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    box = BlackBox(tmp_path / "f", flight_header(), KEY, tmp_path / "heads", checkpoint_s=0.02)
    if what == "disk":
        monkeypatch.setattr(os, "fdatasync", refuse)
    else:
        (tmp_path / "heads").unlink()
    with pytest.raises(RecorderLost):
        keep_stepping(box, pause_s=0.01)
    box.close()


def test_a_checkpoint_that_never_ends_is_a_lost_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        BlackBox(tmp_path / "f", flight_header(), KEY, checkpoint_s=0.01, late_s=0.05) as box,
        monkeypatch.context() as patch,
    ):
        patch.setattr(os, "fdatasync", lambda _: time.sleep(1.0))
        with pytest.raises(RecorderLost, match="no checkpoint could be finished"):
            keep_stepping(box, pause_s=0.01)


def test_heads_come_by_themselves_and_cover_the_flight(tmp_path: Path) -> None:
    with BlackBox(
        tmp_path / "f", flight_header(), KEY, tmp_path / "heads", checkpoint_s=0.02
    ) as box:
        for number in range(100):
            box.step(step_record(number, ZEROS, STILL))
            time.sleep(0.002)
    report = verify_chain(tmp_path / "f", RING, tmp_path / "heads")
    assert report.verdict == "intact"
    assert report.heads > 4
    assert report.signers == ("recorder 7",)


def test_a_header_or_a_table_that_lacks_something_is_refused(tmp_path: Path) -> None:
    whole = flight_header().to_json() | {"clock": {}}
    require_mandatory(whole)
    assert FlightHeader.from_json(whole) == flight_header()
    for name in (
        "robot_id",
        "robot",
        "body",
        "candidate",
        "certificate",
        "filter",
        "limits",
        "clock",
    ):
        with pytest.raises(InvalidConfig, match=name):
            require_mandatory({k: v for k, v in whole.items() if k != name})
    for field in FIELDS:
        short = [row for row in whole["fields"] if row["name"] != field.name]
        with pytest.raises(InvalidConfig, match=field.name):
            require_mandatory(whole | {"fields": short})
    with pytest.raises(InvalidConfig, match="instruction"):
        BlackBox(tmp_path / "f", flight_header(instruction=" "), KEY)
    assert not (tmp_path / "f").exists()


def test_what_is_no_flight_is_refused(tmp_path: Path) -> None:
    ChainWriter.create(tmp_path / "chain", {"x": 1}, KEY).close()
    with pytest.raises(DamagedData, match="no flight"):
        read_flight(tmp_path / "chain")
    with pytest.raises(InvalidConfig, match="exists"):
        BlackBox(tmp_path / "chain", flight_header(), KEY)
    with pytest.raises(RecorderLost, match="no black box"):
        BlackBox(tmp_path / "nowhere" / "f", flight_header(), KEY)


def test_the_summary_counts_and_the_events_are_in_order(tmp_path: Path) -> None:
    fly(tmp_path / "f")
    flight = read_flight(tmp_path / "f")
    summary = summarise(flight)
    stopped = sum(step % 50 > 40 for step in range(400))
    assert summary.reasons == {"CLAMPED": 400 - stopped, "BRAKED": stopped}
    assert (summary.steps, summary.altered, summary.stopping) == (400, 400, stopped)
    assert summary.duration_s == pytest.approx(399 * STEP_S)
    assert summary.margins["least"] == 0.7
    texts = [event.text for event in flight.events()]
    assert texts[:3] == ["go", "step 0: CLAMPED, moving", "step 41: BRAKED, stopping"]
    assert len(texts) == 17


def test_a_file_of_strangers_calls_no_function_of_its_choice(tmp_path: Path) -> None:
    robot = RobotEntry(body="none", plant="os:system", config={"command": "false"})
    with BlackBox(tmp_path / "f", flight_header(robot=robot), KEY):
        pass
    with pytest.raises(Untrusted, match="os:system"):
        plant_of(read_flight(tmp_path / "f"))


def test_times_of_the_loop_are_times_of_the_day(tmp_path: Path) -> None:
    before_ns = time.time_ns()
    with BlackBox(tmp_path / "f", flight_header(), KEY) as box:
        box.note("operator", "now")
    flight = read_flight(tmp_path / "f")
    assert abs(flight.utc_ns(flight.notes[0].monotonic_s) - before_ns) < 5e9
