"""The account of a task: in order, with causes, and down to the joint commands."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from wires_fleet import OpenFleet, open_fleet

from loopwright.core.errors import DamagedData, UnknownName
from loopwright.robot.fleet.attempts import requested_in
from loopwright.robot.fleet.flights import flight_parts, recording_of
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.journal.account import Account, account_of
from loopwright.robot.journal.journal import Journal
from loopwright.robot.memory.witnesses import last_sightings
from loopwright.robot.sighting import Sighting
from loopwright.safety.blackbox import BlackBox, FlightHeader, StepRecord
from loopwright.safety.decision import Reason
from loopwright.safety.keys import SigningKey
from loopwright.scenarios.arm7.plant import make_plant, robot_entry


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[OpenFleet]:
    with open_fleet(tmp_path) as fleet:
        yield fleet


def account(fleet: OpenFleet, task: str) -> Account:
    """Read it as somebody else would, while the coordinator has the journal open."""
    looking = Journal(fleet.journal.path, read_only=True)
    try:
        return account_of(looking.beside(task), task)
    finally:
        looking.close()


def test_everything_that_happened_to_a_task_is_told_with_its_cause(fleet: OpenFleet) -> None:
    fleet.runner.mood = "gives-up"
    task = fleet.coordinator.ask("ring north", by="ann")
    fleet.coordinator.wait(task, timeout_s=20.0)
    other = fleet.coordinator.ask("ring", by="bob")
    fleet.coordinator.wait(other, timeout_s=20.0)
    told = account(fleet, task)
    says = [line.says for line in told.lines]
    assert says[0] == "asked by ann: ring north"
    assert says[1] == "a plan of one step by toy"
    assert says[2] == "step s0: r1 is told to ring north"
    assert "step s0, try 2: r1 is told to ring north" in says
    assert says[-1].startswith("the task is over, failed")
    assert not any("bob" in text for text in says)
    asked, planned, ordered = told.lines[:3]
    assert (planned.cause, ordered.cause) == (asked.number, asked.number)
    assert "read as: ring north" in planned.details
    assert "step s0: any robot: ring north" in planned.details
    assert ordered.details[0].startswith("why r1: it could, and was free")
    ended = next(line for line in told.lines if line.ended)
    assert ended.cause == ordered.number
    assert "the robot says: gave-up" in ended.details
    assert "the world was looked at; not so, or not seen: rung(north)" in ended.details
    assert [line.number for line in told.lines] == sorted(line.number for line in told.lines)


def test_a_stop_is_part_of_every_task_that_was_open(fleet: OpenFleet) -> None:
    before = fleet.coordinator.ask("ring south", by="ann")
    fleet.coordinator.wait(before, timeout_s=20.0)
    fleet.runner.lasts_s = 60.0
    task = fleet.coordinator.ask("ring north", by="ann")
    until_s = time.monotonic() + 10.0
    while not fleet.coordinator.task(task).open_intents and time.monotonic() < until_s:
        time.sleep(0.01)
    fleet.coordinator.stop(None, by="eve")
    assert "stop of all robots by eve" in [line.says for line in account(fleet, task).lines]
    assert "stop of all robots by eve" not in [line.says for line in account(fleet, before).lines]


def test_a_name_nearly_right_is_suggested(fleet: OpenFleet) -> None:
    task = fleet.coordinator.ask("ring north", by="ann")
    with pytest.raises(UnknownName, match=f"did you mean '{task}'"):
        account(fleet, f"{task[:-1]}")


def test_looking_leaves_no_trace_in_a_folder_at_rest(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.close()
    before = sorted(path.name for path in tmp_path.iterdir())
    looking = Journal(tmp_path / "journal.db", read_only=True)
    assert list(looking.entries()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    looking.close()


def test_each_witness_is_asked_for_what_it_saw_last(fleet: OpenFleet) -> None:
    for by, time_s, x in (("r1", 10.0, 1.0), ("r1", 12.0, 2.0), ("cam", 11.0, 3.0), ("cam", 99, 4)):
        pose = (float(x), 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
        fleet.memory.take(
            (Sighting(entity="red-cube", by=by, time_s=time_s, pose=pose, sigma_m=0.01),)
        )
    found = last_sightings(fleet.memory.places.path, "red-cube", from_s=9.0, until_s=20.0)
    assert [(s.by, s.time_s) for s in found] == [("r1", 12.0), ("cam", 11.0)]
    with pytest.raises(DamagedData, match="there is no"):
        last_sightings(fleet.folder / "none.db", "red-cube", from_s=0.0, until_s=1.0)


def record(folder: Path, robot: str, began: datetime, steps: int) -> None:
    """Write a flight of ten steps a second whose commands count up."""
    plant = make_plant()
    header = FlightHeader(
        robot_id=robot, robot=robot_entry(), body=plant.spec, candidate="none", certificate="none",
        filter="none", limits={}, instruction="none", build="none",
    )  # fmt: skip
    name = f"{robot}-{began.strftime('%Y%m%dT%H%M%S.%fZ')}.flight"
    # The header holds both clocks as they are now; steps are placed on the flight's own.
    offset_s = time.monotonic() - time.time()
    with BlackBox(folder / name, header, SigningKey.new()) as box:
        for step in range(steps):
            box.step(
                StepRecord(
                    sequence=step,
                    monotonic_s=began.timestamp() + step / 10 + offset_s,
                    requested=np.full(7, float(step)),
                    request_age_s=0.0,
                    position=np.zeros(7),
                    speed=np.zeros(7),
                    sensor_age_s=0.0,
                    applied=np.full(7, float(step)),
                    reason=Reason.SLEW if step % 2 else Reason.UNALTERED,
                    margin=1.0,
                    stopping=False,
                )
            )


def test_the_joint_commands_of_a_time_are_found_in_their_flight(tmp_path: Path) -> None:
    first, second = datetime(2026, 11, 1, 10, tzinfo=UTC), datetime(2026, 11, 1, 11, tzinfo=UTC)
    record(tmp_path, "arm-1", first, 100)
    record(tmp_path, "arm-1", second, 100)
    record(tmp_path, "arm-10", second, 100)
    from_s = second.timestamp() + 1.95
    (part,) = flight_parts(tmp_path, "arm-1", from_s, from_s + 1.0)
    assert part.path.name.startswith("arm-1-20261101T110000")
    assert part.steps == 10
    assert part.middle_applied == (25.0,) * 7
    assert part.altered == {"SLEW": 5}
    assert part.last_record - part.first_record == 9
    assert part.first_record < part.middle_record < part.last_record
    assert flight_parts(tmp_path, "arm-1", from_s - 1800.0, from_s - 1790.0) == []
    both = flight_parts(tmp_path, "arm-1", first.timestamp() - 1.0, second.timestamp() + 60.0)
    assert [p.steps for p in both] == [100, 100]
    assert json.loads(json.dumps(both[0].to_json()))["steps"] == 100


def test_an_attempt_over_two_flights_is_told_by_both(tmp_path: Path) -> None:
    site = FleetSite(tmp_path)
    site.flights.mkdir(parents=True)
    first = datetime(2026, 11, 1, 10, tzinfo=UTC)
    record(site.flights, "arm-1", first, 100)
    record(site.flights, "arm-1", first + timedelta(seconds=10.0), 100)
    wall_s = first.timestamp() + 8.05 + np.arange(4)
    log = SimpleNamespace(
        wall_at=lambda step: wall_s[step],
        monotonic_at=lambda step: wall_s[step] + time.monotonic() - time.time(),
    )
    attempt = SimpleNamespace(log=log, begin=0, end=4, intent=SimpleNamespace(robot="arm-1"))
    asked = requested_in(site, attempt)  # type: ignore[arg-type]
    assert asked[:, 0].tolist() == [80.0, 90.0, 0.0, 10.0]
    between = first.timestamp() + 10.0
    parts = flight_parts(site.flights, "arm-1", between - 0.95, between + 0.45)
    assert [part.steps for part in parts] == [9, 5]


def test_how_long_there_is_room_for_black_boxes_is_told_by_those_being_written(
    tmp_path: Path,
) -> None:
    quiet = recording_of(tmp_path)
    assert (quiet.kept_bytes, quiet.lasts_s) == (0, float("inf"))
    assert quiet.to_json()["lasts_s"] is None
    now = datetime.now(UTC)
    for age_s, size in ((3600.0, 5_000_000), (100.0, 2_000_000)):
        began = now - timedelta(seconds=age_s)
        path = tmp_path / f"arm-1-{began.strftime('%Y%m%dT%H%M%S.%fZ')}.flight"
        path.write_bytes(b"x" * size)
    over = min(tmp_path.glob("*.flight"))
    os.utime(over, (now.timestamp() - 600.0,) * 2)
    recording = recording_of(tmp_path)
    assert recording.kept_bytes == 7_000_000
    assert recording.grows_bytes_per_s == pytest.approx(20_000.0, rel=0.05)
    assert recording.lasts_s == pytest.approx(recording.free_bytes / 20_000.0, rel=0.05)
