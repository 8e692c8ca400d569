"""The warehouse as a fleet: its cell of guards and drives, and what an agent is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import Bus
from loopwright.robot.cerebellum.tick import Cerebellum, TickingHands
from loopwright.robot.drivers.warehouse.senses import Eyes
from loopwright.robot.drivers.warehouse.signals import WorldSignals, read_scene, read_state
from loopwright.robot.fleet.port import GuardPort
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.latch import StopLatch
from loopwright.robot.skill import GaveUp, Skill, SkillSet
from loopwright.robot.skills.plugins import with_plugins
from loopwright.robot.skills.tabletop import drive, pick, place, rejoin
from loopwright.safety.guard.config import Bounds, CellConfig, Part, RobotConfig
from loopwright.safety.keys import KeyRing
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.body import entry, limits_of
from loopwright.simulation.warehouse.driver import WarehouseDriver
from loopwright.simulation.warehouse.model import arms_of

SIMULATED = Bounds(late_s=2.0, guard_s=2.5, command_s=2.5, line_s=2.5, reading_s=2.5, policy_s=3.0)
"""Patience for a simulation whose many processes share few cores, where nobody can be hurt. A real
robot has the defaults, which are about fifty times shorter."""

FLIGHT_S = 600.0
"""So long is a flight; what is older can be moved away while the fleet works."""


def world_folder(site: FleetSite) -> Path:
    """Return where the simulated world's shared memory is."""
    return site.signals / "world"


def cell_of(site: FleetSite) -> CellConfig:
    """Return guards and drives of all robots, as one cell that stops together."""
    return CellConfig(
        name="warehouse",
        robots=tuple(_robot_config(site, robot) for robot in layout.ROBOTS),
        signals=site.signals / "cell",
        logs=site.cell,
        ring=site.ring,
        bounds=SIMULATED,
        watchdog_hz=50.0,
        priority=50,
    )


def _robot_config(site: FleetSite, robot: str) -> RobotConfig:
    limits: dict[str, Any] = limits_of(robot).to_json()
    recorder = {
        "folder": str(site.flights),
        "key": str(site.recorder_key),
        "limits": limits,
        "instruction": "tasks of the fleet's journal",
        "every_s": FLIGHT_S,
    }
    return RobotConfig(
        name=robot,
        entry=entry(robot),
        filter=Part(entry="loopwright.safety.guard.parts:make_ladder", config={"limits": limits}),
        recorder=Part(
            entry="loopwright.safety.guard.parts:make_rolling_black_box", config=recorder
        ),
        actuators=Part(
            entry="loopwright.robot.drivers.warehouse.actuators:make_actuators",
            config={"world": str(world_folder(site))},
        ),
    )


def skills_of(robot: str) -> SkillSet:
    """Return what a robot of the warehouse can do."""
    parts, hands = layout.PARTS[robot], len(arms_of(robot))
    found = [pick if hands == 1 else _with_a_hand_left(pick), place] if hands else []
    return SkillSet(*found, *([drive, rejoin] if "base" in parts else []))


def _with_a_hand_left(skill: Skill) -> Skill:
    """Return a skill of a robot with two hands: taking one thing leaves it a hand."""
    kept = tuple(c for c in skill.contract.ensures if c.fact.name != "free-hand")
    return replace(skill, contract=replace(skill.contract, ensures=kept))


class RobotAgent:
    """The agent of one robot with everything below it, up to the guard."""

    def __init__(self, site: FleetSite, robot: str, bus: Bus) -> None:
        """Put it together; the world and the cell run already.

        Raises:
            SafetyError: They do not.
        """
        signals = WorldSignals(world_folder(site))
        scenes, states = signals.scene_reader(), signals.state_reader(robot)
        driver = WarehouseDriver(robot)
        eyes = Eyes(robot, driver, lambda: read_scene(scenes), lambda: read_state(states, robot))
        self._port = GuardPort(site.signals / "cell", robot, driver.size)
        hands = FeelingHands(
            robot=robot,
            rate_hz=driver.rate_hz,
            port=self._port,
            driver=driver,
            where=_last_seen(eyes),
            feel=eyes.feel,
        )
        parts = frozenset(layout.PARTS[robot])
        skills = with_plugins(skills_of(robot), robot, parts)
        self.agent = Agent(
            robot=robot,
            parts=parts,
            skills=skills,
            runner=Cerebellum(
                hands=hands,
                skills=skills,
                look=eyes.look,
                latch=StopLatch(site.latch(robot), robot, KeyRing.read(site.ring)),
            ),
            log=IntentLog(site.agents / f"{robot}.db"),
            bus=bus,
        )

    def start(self) -> None:
        """Come onto the bus."""
        self.agent.start()

    def close(self) -> None:
        """Leave the bus, at rest."""
        self.agent.close()
        self._port.close()


class FeelingHands(TickingHands):
    """Hands that know at every tick whether they hold something."""

    def __init__(self, *, feel: Callable[[], dict[str, bool]], **rest: Any) -> None:
        """See :class:`TickingHands`; ``feel`` returns arm to whether its hand feels something."""
        self._feel = feel
        super().__init__(**rest)

    def refresh(self) -> None:
        """Read the newest measurement and touch."""
        super().refresh()
        self.driver.held = self._feel()  # pyright: ignore[reportAttributeAccessIssue]


def _last_seen(eyes: Eyes) -> Callable[[str], np.ndarray]:
    """Return who says where something is by what the robot's own eyes see now."""

    def where(entity: str) -> np.ndarray:
        for sighting in eyes.look():
            if sighting.entity == entity and sighting.pose is not None:
                return np.array(sighting.pose)
        raise GaveUp(f"{entity} is not in sight")

    return where
