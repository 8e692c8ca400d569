"""A real arm's motors: they follow speeds, hold when stopped, and never leap."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from servo_arm import DEGREES, HOME_RAD, LAG_S, MOTORS, ServoArm

from loopwright.core.errors import InvalidConfig, SafetyError
from loopwright.robot.drivers.lerobot_arm import LeRobotActuators, MotorMap, make_actuators
from loopwright.safety.body import RobotEntry
from loopwright.safety.guard.cell import run_cell
from loopwright.safety.guard.config import Bounds, CellConfig, Part, RobotConfig
from loopwright.safety.guard.signals import LineState
from loopwright.safety.guard.stops import press_stop
from loopwright.safety.keys import Holder, KeyRing, SigningKey
from loopwright.scenarios.arm7.plant import make_limits, robot_entry

RATE_HZ = 100.0
LEASH_RAD = 0.05


def motor_map(**changes: object) -> MotorMap:
    given = {
        "motors": MOTORS, "per_unit": (DEGREES,) * 7, "zero": (0.0,) * 7, "leash": LEASH_RAD,
    }  # fmt: skip
    return MotorMap(**{**given, **changes})  # type: ignore[arg-type]


def follow(arm: LeRobotActuators, speed: float, seconds: float) -> np.ndarray:
    for _ in range(round(seconds * RATE_HZ)):
        arm.measure()
        arm.write(np.full(7, speed))
        time.sleep(1.0 / RATE_HZ)
    return arm.measure().position


def test_the_arm_follows_a_speed_and_holds_when_stopped() -> None:
    servos = ServoArm()
    arm = LeRobotActuators(servos, motor_map(), RATE_HZ)
    began_s = time.monotonic()
    way = follow(arm, 0.3, 0.5) - HOME_RAD
    lasted_s = time.monotonic() - began_s
    assert np.all(way > 0.05)
    assert np.all(way <= 0.3 * lasted_s + LEASH_RAD)
    at_stop = arm.measure().position
    for _ in range(20):
        arm.measure()
        arm.stop()
        time.sleep(1.0 / RATE_HZ)
    assert np.abs(arm.measure().position - at_stop).max() < 0.3 * LAG_S + 0.005
    assert np.abs(arm.measure().speed).max() < 0.02


def test_an_arm_that_was_held_back_does_not_leap_when_it_comes_free() -> None:
    servos = ServoArm()
    arm = LeRobotActuators(servos, motor_map(), RATE_HZ)
    servos.jammed = True
    follow(arm, 1.0, 0.5)  # commanded half a radian, and went nowhere
    servos.jammed = False
    time.sleep(5 * LAG_S)
    assert np.abs(arm.measure().position - HOME_RAD).max() <= LEASH_RAD + 1e-6


def test_motors_may_turn_the_other_way_and_from_another_zero() -> None:
    servos = ServoArm()
    zero = (10.0,) * 7
    arm = LeRobotActuators(servos, motor_map(per_unit=(-DEGREES,) * 7, zero=zero), RATE_HZ)
    assert arm.measure().position == pytest.approx(np.radians(10.0) - HOME_RAD)
    before = servos.angle.copy()
    follow(arm, 0.2, 0.2)
    assert np.all(servos.angle < before)


@pytest.mark.parametrize("lie", [{"motor_3.pos": float("nan")}, {"motor_3.pos": float("inf")}])
def test_nonsense_of_a_motor_is_an_error(lie: dict[str, object]) -> None:
    servos = ServoArm()
    arm = LeRobotActuators(servos, motor_map(), RATE_HZ)
    servos.lies = lie
    with pytest.raises(SafetyError, match="motor_3"):
        arm.measure()


def test_a_motor_that_is_not_there_is_named() -> None:
    with pytest.raises(SafetyError, match=r"nothing of \['gripper.pos'\]"):
        LeRobotActuators(ServoArm(), motor_map(motors=(*MOTORS[:6], "gripper")), RATE_HZ)


def test_it_ends_holding_and_disconnected_once() -> None:
    servos = ServoArm()
    arm = LeRobotActuators(servos, motor_map(), RATE_HZ)
    follow(arm, 0.3, 0.1)
    position = arm.measure().position
    arm.close()
    arm.close()
    assert servos.connections == 0
    assert np.radians(servos.goal) == pytest.approx(position, abs=0.03)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="leash"):
        motor_map(leash=0.0)
    with pytest.raises(InvalidConfig, match="7 motors"):
        motor_map(zero=(0.0,))
    entry = RobotEntry(body="loopwright.scenarios.arm7.plant:make_body")
    with pytest.raises(InvalidConfig, match="1 motors for 7 coordinates"):
        make_actuators(
            robot="r", entry=entry, make="servo_arm:make_robot", motors=["a"], per_unit=[1.0]
        )


def test_behind_a_guard_it_moves_and_stops(tmp_path: Path) -> None:
    operator, recorder = SigningKey.new(), SigningKey.new()
    recorder.write(tmp_path / "recorder.key")
    ring = KeyRing([Holder(person="o", public=operator.public, roles=frozenset({"operator"}))])
    ring.write(tmp_path / "ring.json")
    # These servos are slower than those of the arm's model, and its limits have to say so.
    slow = {"servo_lag_s": LAG_S, "residual": (1.0,) * 7, "delay_s": 0.0}
    limits = make_limits(overrides=slow).to_json()
    parts = "loopwright.safety.guard.parts"
    box = {"folder": str(tmp_path), "key": str(tmp_path / "recorder.key"), "limits": limits}
    motors = {
        "make": "servo_arm:make_robot", "motors": MOTORS, "per_unit": [DEGREES] * 7, "leash": 0.2,
    }  # fmt: skip
    robot = RobotConfig(
        name="arm",
        entry=robot_entry(),
        filter=Part(entry=f"{parts}:make_ladder", config={"limits": limits}),
        recorder=Part(entry=f"{parts}:make_black_box", config=box),
        actuators=Part(
            entry="loopwright.robot.drivers.lerobot_arm:make_actuators",
            config=json.loads(json.dumps(motors)),
        ),
    )
    patient = Bounds(
        late_s=2.0, guard_s=2.5, command_s=2.5, line_s=2.5, reading_s=2.5, policy_s=3.0
    )
    config = CellConfig(
        name="real",
        robots=(robot,),
        signals=tmp_path / "signals",
        logs=tmp_path / "logs",
        ring=tmp_path / "ring.json",
        bounds=patient,
        priority=0,
    )
    with run_cell(config, {"PYTHONPATH": str(Path(__file__).parent)}) as cell:
        cell.wait_until(LineState.UP)
        policy = cell.policy_side("arm")
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s:
            policy.send(np.array([0.1, 0, 0, 0, 0, 0, 0]))
            time.sleep(0.02)
        reading = policy.reading()
        assert reading is not None
        assert 0.02 < reading.position[0] < 0.15
        press_stop(config.signals, "test", "enough")
        cell.wait_until(LineState.DOWN)
        time.sleep(0.3)
        held = policy.reading()
        time.sleep(0.3)
        later = policy.reading()
        assert held is not None
        assert later is not None
        assert np.abs(later.position - held.position).max() < 0.005
