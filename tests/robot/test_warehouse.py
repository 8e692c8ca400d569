"""The warehouse: skills with real contact physics, and the whole fleet behind its guards."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopwright.core.errors import SafetyError, UnknownName
from loopwright.robot.drivers.warehouse.senses import Camera, Eyes
from loopwright.robot.drivers.warehouse.things import things
from loopwright.robot.fleet.fleet import run_fleet
from loopwright.robot.logic import Condition, Fact
from loopwright.robot.memory.memory import Memory
from loopwright.robot.skill import GaveUp, Skill
from loopwright.robot.skills.tabletop import drive, pick, place, rejoin
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.body import limits_of, make_body
from loopwright.simulation.warehouse.driver import WarehouseDriver
from loopwright.simulation.warehouse.hands import SimulatedHands
from loopwright.simulation.warehouse.model import base_joints
from loopwright.simulation.warehouse.physics import Warehouse


class Moving(SimulatedHands):
    """A robot whose ticks move the simulation on, as fast as it goes."""

    def __init__(self, world: Warehouse, robot: str) -> None:
        super().__init__(world, robot)
        self._step = world.step

    def run(self, skill: Skill, **values: Any) -> None:
        for command in skill.body(self, **values):
            self.follow(command)

    def follow(self, command: np.ndarray | None) -> None:
        self._step({self.robot: self.driver.grips() if command is None else command})
        self.refresh()


@pytest.fixture
def world() -> Warehouse:
    return Warehouse()


def believed(world: Warehouse, folder: Path) -> Memory:
    """Return what somebody believes who has looked through every eye and camera once."""
    memory = Memory(folder / "memory.db", things())
    for robot in layout.ROBOTS:
        driver = WarehouseDriver(robot)
        eyes = Eyes(
            robot, driver, lambda: world.scene(0.0), lambda r=robot: world.robots[r].state(0.0)
        )
        memory.take(eyes.look())
    for station in layout.STATIONS:
        memory.take(Camera(station, lambda: world.scene(0.0)).look())
    return memory


def holds(memory: Memory, text: str) -> bool | None:
    return Condition.parse(text).truth(memory.facts())


def test_a_cube_is_handed_over_by_cart_and_seen_to_be(world: Warehouse, tmp_path: Path) -> None:
    arm, cart = Moving(world, "arm-1"), Moving(world, "cart-1")
    cart.run(drive, start="store", goal="bench")
    arm.run(pick, object="red-cube", surface="table", station="bench")
    memory = believed(world, tmp_path / "held")
    assert holds(memory, "holding(arm-1, red-cube)") is True
    assert holds(memory, "on(red-cube, table)") is False
    assert holds(memory, "at(cart-1, bench)") is True
    arm.run(place, object="red-cube", surface="cart-1", station="bench")
    cart.run(drive, start="bench", goal="door")
    memory = believed(world, tmp_path / "brought")
    assert holds(memory, "on(red-cube, cart-1)") is True
    assert holds(memory, "free-hand(arm-1)") is True
    assert holds(memory, "at(cart-1, door)") is True


def test_a_robot_that_was_stopped_on_its_way_comes_to_a_station_again(
    world: Warehouse, tmp_path: Path
) -> None:
    cart = Moving(world, "cart-1")
    half_way = itertools.islice(drive.body(cart, start="store", goal="door"), 600)
    for command in half_way:
        cart.follow(command)
    assert holds(believed(world, tmp_path / "astray"), "astray(cart-1)") is True
    cart.run(rejoin, goal="bench")
    memory = believed(world, tmp_path / "back")
    assert holds(memory, "astray(cart-1)") is False
    assert holds(memory, "at(cart-1, bench)") is True


def test_what_is_out_of_reach_is_given_up_with_the_reason(world: Warehouse) -> None:
    arm = Moving(world, "arm-1")
    with pytest.raises(GaveUp, match="out of reach of arm-1"):
        arm.run(pick, object="yellow-cube", surface="shelf", station="store")
    with pytest.raises(GaveUp, match="no hand of arm-1 is where"):
        arm.run(place, object="red-cube", surface="table", station="bench")
    with pytest.raises(GaveUp, match="no place to stand at moon"):
        Moving(world, "cart-1").run(drive, start="store", goal="moon")


def test_what_an_arm_puts_far_away_a_mover_still_takes(world: Warehouse, tmp_path: Path) -> None:
    world.place(base_joints("mover-1"), layout.DOCKS["mover-1", "bench"])
    world.place_object("blue-cube", np.array([0.42, 0.28, 0.44]), 0.0)  # a corner on arm-1's side
    world.settle()
    Moving(world, "mover-1").run(pick, object="blue-cube", surface="table", station="bench")
    assert holds(believed(world, tmp_path), "holding(mover-1, blue-cube)") is True


def test_of_two_hands_the_one_takes_that_can_also_give(world: Warehouse, tmp_path: Path) -> None:
    duo = Moving(world, "duo-1")
    # It lies nearer to the left hand, which does not reach the cart.
    duo.run(pick, object="green-cube-2", surface="shelf", station="store")
    duo.run(place, object="green-cube-2", surface="cart-1", station="store")
    assert holds(believed(world, tmp_path), "on(green-cube-2, cart-1)") is True


def test_a_robot_whose_drive_is_silent_stands_and_keeps_what_it_holds(world: Warehouse) -> None:
    arm = Moving(world, "arm-1")
    arm.run(pick, object="red-cube", surface="table", station="bench")
    for _ in range(100):
        world.step({})
    state = world.robots["arm-1"].state(0.0)
    assert np.abs(state.speed).max() < 0.01
    assert state.touched == (True,)


@pytest.mark.parametrize("robot", list(layout.ROBOTS))
def test_every_robot_has_a_body_with_limits(robot: str) -> None:
    body, limits = make_body(robot=robot), limits_of(robot)
    limits.check(body.spec)
    assert body.spec.size == WarehouseDriver(robot).size


def test_a_robot_of_another_name_is_suggested() -> None:
    with pytest.raises(UnknownName, match="did you mean 'arm-1'"):
        WarehouseDriver("arm-l")


@pytest.mark.slow
@pytest.mark.alone
def test_a_fleet_does_what_is_asked_and_stops_when_told(tmp_path: Path) -> None:
    with run_fleet(tmp_path / "fleet") as fleet:
        task = fleet.carry_out("pick up the red cube", by="test")
        assert (task.outcome, task.reason) == ("succeeded", "")
        assert [(i.robot, i.skill) for i in task.intents] == [("arm-1", "pick")]
        far = fleet.coordinator.ask("send cart-1 to the door", by="test")
        threading.Event().wait(3.0)
        fleet.stop(None, by="test")
        stopped = fleet.coordinator.wait(far, timeout_s=5.0)
        assert stopped.outcome != "succeeded"
        until = threading.Event()
        until.wait(1.0)
        assert "cart-1" in fleet.coordinator.look_at(lambda s: set(s.held))  # type: ignore[operator]
    with (
        pytest.raises(SafetyError, match="of an earlier run is still open"),
        run_fleet(tmp_path / "fleet"),
    ):
        pass
    with run_fleet(tmp_path / "fleet", release="it was a test") as again:
        ended = again.coordinator.wait(far, timeout_s=90.0)
        assert ended.outcome == "succeeded", "the journal is gone on with"


@pytest.mark.slow
@pytest.mark.alone
def test_a_robot_whose_process_is_killed_comes_back_and_the_others_go_on(tmp_path: Path) -> None:
    with run_fleet(tmp_path / "fleet") as fleet:
        task = fleet.coordinator.ask("pick up the red cube", by="test")
        arm = fleet.processes.running["arm-1"]
        until_s = time.monotonic() + 30.0
        while not fleet.coordinator.task(task).open_intents and time.monotonic() < until_s:
            time.sleep(0.05)
        time.sleep(1.0)
        arm.kill()
        far = fleet.carry_out("send cart-1 to the door", by="test")
        assert far.outcome == "succeeded", "the line of the guards has stayed up"
        ended = fleet.coordinator.wait(task, timeout_s=90.0)
        holding = Fact("holding", ("arm-1", "red-cube"))
        truth = fleet.memory.facts()(holding)
        assert (ended.status, ended.outcome == "succeeded") == ("ended", truth is True)
        assert ended.intents[0].outcome != "succeeded" or not ended.intents[0].claim
        fleet.wait_for_robots()
        assert fleet.processes.running["arm-1"].pid != arm.pid
