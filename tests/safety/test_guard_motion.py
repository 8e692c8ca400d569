"""The flight of a drive can be flown again, whatever became of the drive."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from guarded_cell import bench
from sliding_robot import make_plant

from loopwright.cli.verbs import blackbox_replay
from loopwright.core.errors import InvalidConfig, RecorderLost
from loopwright.safety.blackbox import Flight, plant_of, read_flight, replay
from loopwright.safety.body import Plant, RobotEntry
from loopwright.safety.chain import verify_chain
from loopwright.safety.guard.actuators import PlantActuators, make_plant_actuators
from loopwright.safety.guard.config import Part
from loopwright.safety.guard.motion import MotionFlight
from loopwright.safety.keys import Holder, KeyRing, SigningKey

ENTRY = RobotEntry(body="sliding_robot:make_body", plant="sliding_robot:make_plant")


def begin(folder: Path) -> PlantActuators:
    key = SigningKey.new()
    key.write(folder / "recorder.key")
    return make_plant_actuators(
        robot="r0", entry=ENTRY, flight={"folder": str(folder), "key": str(folder / "recorder.key")}
    )


def flight_in(folder: Path) -> Flight:
    (path,) = folder.glob("r0.drive-*.flight")
    return read_flight(path)


def test_every_step_is_replayed_exactly_from_every_snapshot(tmp_path: Path) -> None:
    drive = begin(tmp_path)
    for step in range(40):
        if step // 10 % 2:
            drive.write(np.array([0.3, 0.1 * step]))
        else:
            drive.stop()
    truth = drive.measure()
    drive.close()
    flight = flight_in(tmp_path)
    assert flight.steps["sequence"].tolist() == list(range(1, 41))
    assert flight.steps["stopping"].tolist() == [step // 10 % 2 == 0 for step in range(40)]
    # At the start, and wherever it begins to move or to stop.
    assert [snapshot.next_step for snapshot in flight.snapshots] == [1, 11, 21, 31]
    for snapshot in flight.snapshots:
        plant = plant_of(flight, trusted=True)
        report = replay(flight, plant, snapshot)
        assert report.exact
        assert report.steps == 41 - snapshot.next_step
        again = plant.load(plant.save())
        assert again.position.tobytes() == truth.position.tobytes()


def test_a_snapshot_is_made_every_second(tmp_path: Path) -> None:
    drive = begin(tmp_path)
    until_s = time.monotonic() + 1.2
    while time.monotonic() < until_s:
        drive.write(np.array([0.1, 0.1]))
        time.sleep(0.02)
    drive.close()
    assert len(flight_in(tmp_path).snapshots) == 2


class FullDisk:
    """A black box on a disk that is full from the third step on."""

    snapshot_due = False

    def __init__(self) -> None:
        self.steps = self.closed = 0

    def snapshot(self, state: bytes, next_step: int) -> None:
        assert state

    def step(self, facts: object) -> None:
        self.steps += 1
        if self.steps == 3:
            raise RecorderLost("no space left")

    def close(self) -> None:
        self.closed += 1
        raise RecorderLost("no space left")


def test_a_robot_goes_on_and_can_stop_where_its_motion_is_no_longer_recorded() -> None:
    box = FullDisk()
    drive = PlantActuators(make_plant(), flight=MotionFlight(box))  # type: ignore[arg-type]
    for _ in range(5):
        drive.write(np.array([0.3, 0.1]))
    for _ in range(50):
        drive.stop()
    assert np.abs(drive.measure().speed).max() == 0
    assert (box.steps, box.closed) == (3, 1)
    drive.close()


def test_a_guards_flight_says_whose_can_be_replayed(tmp_path: Path) -> None:
    drive = begin(tmp_path)
    drive.stop()
    drive.close()
    flight = flight_in(tmp_path)
    with pytest.raises(InvalidConfig, match=r"drive-DATE\.flight"):
        replay(dataclasses.replace(flight, snapshots=()), make_plant())


def in_contact(plant: Plant) -> bool:
    """Tell whether anything touches anything in a simulated robot, in the state it is in."""
    import mujoco

    model, data = plant.model, plant.data  # type: ignore[attr-defined]
    mujoco.mj_forward(model, data)  # pyright: ignore[reportAttributeAccessIssue]
    return bool(data.ncon)


@pytest.mark.slow
@pytest.mark.alone
def test_an_arm_killed_while_it_presses_on_the_table_is_replayed_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mujoco")
    from loopwright.scenarios.arm7.plant import make_limits, robot_entry

    key = SigningKey.new()
    key.write(tmp_path / "recorder.key")
    holder = Holder(person="box", public=key.public, roles=frozenset({"recorder"}))
    KeyRing([holder]).write(tmp_path / "recorders.json")
    # A filter that lets the hand press on the table, which the real limits would not.
    loose = {"walls": [], "keep_outs": [], "residual": [50.0] * 7, "late_share": 50.0}
    limits = make_limits(overrides={**loose, "point_speed_m_s": 2.0}).to_json()
    box = {"folder": str(tmp_path), "key": str(tmp_path / "recorder.key")}
    parts = "loopwright.safety.guard"
    with bench(
        tmp_path,
        entry=robot_entry(),
        filter=Part(entry=f"{parts}.parts:make_ladder", config={"limits": limits}),
        recorder=Part(entry=f"{parts}.parts:make_black_box", config={**box, "limits": limits}),
        actuators=Part(
            entry=f"{parts}.actuators:make_plant_actuators",
            config={"truth": str(tmp_path), "flight": box},
        ),
    ) as cell:
        side = cell.cell.policy_side("r0")
        until_s = time.monotonic() + 8.0
        while time.monotonic() < until_s:
            # Shoulder down: the hand reaches the table after a second or two, and presses.
            side.send(np.array([0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]))
            time.sleep(0.02)
        cell.cell.processes["drive:r0"].kill()
        cell.cell.processes["drive:r0"].wait()
        side.close()
    (path,) = tmp_path.glob("r0.drive-*.flight")
    assert verify_chain(path, KeyRing([holder])).verdict == "interrupted"
    flight = read_flight(path)
    newest = [s for s in flight.snapshots if s.next_step <= flight.steps["sequence"][-1]][-1]
    plant = plant_of(flight)
    plant.load(newest.state)
    assert in_contact(plant)
    report = replay(flight, plant, newest)
    assert report.exact
    assert replay(flight, plant).exact
    assert len(flight.steps) > 500
    assert blackbox_replay.main(path, start=int(newest.next_step)) == 0
    assert "bit-exact" in capsys.readouterr().out
    plant.close()
