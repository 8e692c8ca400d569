from __future__ import annotations

import mujoco
import numpy as np
import pytest

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName, WorldError
from loopwright.core.stage import resolve_entry
from loopwright.safety.body import Measured
from loopwright.safety.ladder import SafetyFilter
from loopwright.scenarios.arm7.plant import (
    WIRING,
    make_body,
    make_limits,
    make_plant,
    robot_entry,
)
from loopwright.simulation.mujoco_body import MujocoBody, MujocoPlant, Wiring

GANTRY = """
<mujoco>
  <compiler autolimits="true"/>
  <option timestep="0.005" integrator="implicitfast" gravity="0 0 0"/>
  <worldbody>
    <body name="ball" pos="5 5 5"><freejoint/><geom size="0.1"/></body>
    <body name="beam">
      <joint name="along" type="slide" axis="1 0 0" range="-1 2"/>
      <geom size="0.1" mass="1"/>
      <body name="mast">
        <joint name="turn" axis="0 0 1" range="-90 90"/>
        <geom size="0.1" mass="1" pos="1 0 0"/>
        <joint name="free" type="slide" axis="0 0 1"/>
        <site name="tip" pos="2 0 0"/>
        <body><joint name="jaw" type="slide" axis="0 1 0"/><geom size="0.05" mass="0.1"/></body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="grip" joint="jaw" ctrlrange="-3 2"/>
    <velocity joint="turn" kv="50" ctrlrange="-2 2"/>
    <velocity joint="along" kv="50" ctrlrange="-0.5 1"/>
  </actuator>
</mujoco>"""
GANTRY_WIRING = Wiring(
    robot="gantry-v1",
    joints=("along", "turn"),
    points=("tip",),
    rate_hz=100.0,
    stop_deceleration=(4.0, 4.0),
    efforts=("grip",),
)


def gantry() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(GANTRY)


def test_any_model_with_speed_actuators_is_a_body():
    body = MujocoBody(gantry(), GANTRY_WIRING)
    assert body.spec.coordinates == ("along", "turn", "grip")
    assert body.spec.units == ("m", "rad", "1")
    assert body.spec.kinds == ("speed", "speed", "effort")
    assert body.parts.stated_limits() == {
        "position_low": (-1.0, pytest.approx(-np.pi / 2), 0.0),
        "position_high": (2.0, pytest.approx(np.pi / 2), 0.0),
        "speed": (0.5, 2.0, 2.0),
    }
    places = body.place(np.array([0.5, np.pi / 2, 0.0]))
    assert places.position_m[0] == pytest.approx([0.5, 2.0, 0.0], abs=1e-9)
    assert (
        pytest.approx(np.array([[1, 0, 0], [-2, 0, 0], [0, 0, 0]]), abs=1e-9)
        == places.jacobian[0].T
    )


def test_a_wiring_that_does_not_fit_is_refused():
    def body(**changes: object) -> MujocoBody:
        values = {name: getattr(GANTRY_WIRING, name) for name in GANTRY_WIRING.__slots__}
        return MujocoBody(gantry(), Wiring(**(values | changes)))

    with pytest.raises(UnknownName, match="along"):
        body(joints=("alon", "turn"))
    with pytest.raises(UnknownName, match="tip"):
        body(points=("tipp",))
    with pytest.raises(UnknownName, match="grip"):
        body(efforts=("grp",))
    with pytest.raises(InvalidConfig, match="one velocity actuator"):
        body(joints=("along", "free"))
    with pytest.raises(InvalidConfig, match="one velocity actuator"):
        body(joints=("along", "jaw"))
    with pytest.raises(InvalidConfig, match="stop_deceleration"):
        body(stop_deceleration=(1.0,))
    endless = GANTRY.replace('range="-1 2"', "")
    with pytest.raises(InvalidConfig, match="'along' has no range"):
        MujocoBody(mujoco.MjModel.from_xml_string(endless), GANTRY_WIRING).parts.stated_limits()
    with pytest.raises(InvalidConfig, match="whole number"):
        MujocoPlant(
            gantry(), Wiring(**{**_values(GANTRY_WIRING), "rate_hz": 70.0}), start=lambda r: r
        )


def _values(wiring: Wiring) -> dict:
    return {name: getattr(wiring, name) for name in wiring.__slots__}


def test_points_move_as_the_jacobian_says():
    body, random = make_body(), np.random.default_rng(0)
    for _ in range(5):
        position, way = random.uniform(-1, 1, 7), random.uniform(-1, 1, 7)
        here, there = body.place(position), body.place(position + 1e-6 * way)
        moved = (there.position_m - here.position_m) / 1e-6
        assert moved == pytest.approx(here.jacobian @ way, abs=1e-4)


def test_the_nominal_model_foretells_the_nominal_plant():
    body, plant = make_body(), make_plant()
    measured = plant.reset(3)
    command = np.array([0.3, -0.2, 0.1, 0.2, -0.3, 0.2, 0.4])
    forecast = body.forecast(measured, command, hold_steps=5, brake_steps=25)
    assert forecast.position.shape == (6, 7)
    for _ in range(5):
        measured = plant.step(command)
    assert forecast.position[0] == pytest.approx(measured.position, abs=2e-3)
    for _ in range(25):
        measured = plant.stop()
    assert forecast.position[-1] == pytest.approx(measured.position, abs=3e-3)
    assert forecast.points_m[-1] == pytest.approx(
        body.place(measured.position).position_m, abs=3e-3
    )


@pytest.mark.parametrize("config", [{}, {"payload_kg": 4.0, "friction_nm": 3.0, "delay_steps": 7}])
def test_a_saved_state_goes_on_bit_by_bit_through_contact_and_stops(config: dict):
    one, two = make_plant(**config), make_plant(**config)
    one.reset(1)
    two.reset(2)
    commands = np.random.default_rng(0).uniform(-0.3, 0.3, (1000, 7))
    commands[100:] = [0, 1.5, 0, 0, 0, 0, 0]  # Down onto the table.
    touched = 0
    for command in commands[:850]:
        one.step(command)
        touched += one.data.ncon
    assert touched
    state = one.save()
    two.load(state)
    assert two.save() == state
    for command in commands[850:]:
        a, b = one.step(command), two.step(command)
        assert a.position.tobytes() == b.position.tobytes()
        assert a.speed.tobytes() == b.speed.tobytes()
        assert a.time_s == b.time_s
    assert one.data.ncon
    one.stop()
    two.load(one.save())
    for _ in range(50):
        one.stop()
        two.stop()
    assert one.save() == two.save()


def test_what_is_no_saved_state_is_refused():
    plant = make_plant()
    with pytest.raises(DamagedData, match="bytes"):
        plant.load(plant.save()[:-8])


def test_a_seed_alone_fixes_the_start_and_all_starts_are_within_the_limits():
    plant, limits, body = make_plant(), make_limits(), make_body()
    safety = SafetyFilter(body, limits)
    margins = []
    for seed in range(300):
        measured = plant.reset(seed)
        assert measured.position.tobytes() == plant.reset(seed).position.tobytes()
        assert measured.time_s == 0.0
        safety.reset(measured)
        margins.append(safety.step(np.zeros(7), 0.0, measured).margin)
    assert min(margins) > 0.2


def test_a_stop_holds_what_a_command_of_zero_lets_sag():
    held, sagging = make_plant(payload_kg=4.0), make_plant(payload_kg=4.0)
    start = held.reset(0).position
    sagging.reset(0)
    for _ in range(500):
        here, there = held.stop(), sagging.step(np.zeros(7))
    assert np.abs(here.position - start).max() < 0.02
    assert np.abs(there.position - start).max() > 0.05
    assert np.abs(here.speed).max() < 1e-3


def test_a_stop_in_motion_brakes_with_the_stated_deceleration():
    plant = make_plant()
    plant.reset(0)
    for _ in range(200):
        moving = plant.step(np.array([0.5, 0, 0, 0, 0, 0, 1.0]))
    steps = 0
    while np.abs(moving.speed).max() > 0.02:
        moving = plant.stop()
        steps += 1
    assert 0.9 * 0.1 <= steps / 500 <= 0.2


def test_delay_is_a_number_of_control_steps():
    late, prompt = make_plant(delay_steps=5), make_plant()
    late.reset(0)
    prompt.reset(0)
    command = np.full(7, 0.3)
    for _ in range(5):
        assert np.abs(late.step(command).speed).max() < 1e-3
    a, b = late.step(command), prompt.step(command)
    assert a.speed == pytest.approx(b.speed, abs=1e-3)
    with pytest.raises(InvalidConfig, match="delay_steps"):
        make_plant(delay_steps=-1)


@pytest.mark.parametrize("bad", [np.zeros(6), np.full(7, np.nan), np.full(7, np.inf)])
def test_a_plant_takes_no_nonsense(bad: np.ndarray):
    plant = make_plant()
    plant.reset(0)
    with pytest.raises(WorldError, match="7 finite numbers"):
        plant.step(bad)


def test_impossible_mismatches_are_refused_and_the_body_knows_of_none():
    with pytest.raises(InvalidConfig, match="payload"):
        make_plant(payload_kg=-1.0)
    loaded, bare = make_body(payload_kg=9.0), make_body()
    assert loaded.spec == bare.spec
    at = Measured(position=np.full(7, 0.3), speed=np.zeros(7), time_s=0.0)
    a, b = (
        body.forecast(at, np.full(7, 0.2), hold_steps=5, brake_steps=25) for body in (loaded, bare)
    )
    assert a.position.tobytes() == b.position.tobytes()


def test_another_process_comes_by_the_same_arm():
    entry = robot_entry(payload_kg=1.0)
    assert entry.plant is not None
    body = resolve_entry(entry.body)(**entry.config)
    plant = resolve_entry(entry.plant)(**entry.config)
    assert body.spec.robot == plant.spec.robot == WIRING.robot


def test_limits_come_from_the_model_the_table_and_the_profile():
    limits = make_limits()
    assert limits.speed == (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)
    assert limits.point_speed_m_s == 0.25
    assert make_limits(overrides={"point_speed_m_s": 0.1}).point_speed_m_s == 0.1


def test_a_drive_that_becomes_late_goes_on_with_the_newest_command_until_the_next_arrives():
    prompt, late = make_plant(), make_plant(delay_steps=3)
    prompt.reset(0)
    for speed in (0.1, 0.2, 0.3):
        prompt.step(np.full(7, speed))
    late.load(prompt.save())
    late.hold_newest()
    for step in range(4):
        late.step(np.full(7, -1.0))
        assert (late.data.ctrl < 0).all() == (step == 3)
        assert (late.data.ctrl == 0.3).all() == (step < 3)


def test_what_a_rule_says_binds_whatever_is_chosen():
    assert make_limits(overrides={"headroom": 0.95}).headroom == 0.85
    assert make_limits(overrides={"headroom": 0.8}).headroom == 0.8
