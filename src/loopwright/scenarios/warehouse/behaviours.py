"""What acts to make source episodes: the fleet's own motions, and undirected play."""

from __future__ import annotations

import numpy as np

from loopwright.core.interface import Observation
from loopwright.core.motion import GaveUp, Motion
from loopwright.core.seeds import generator
from loopwright.scenarios.motion import SmoothNoise
from loopwright.scenarios.warehouse.world import WarehouseWorld
from loopwright.simulation.warehouse.hands import SimulatedHands
from loopwright.simulation.warehouse.model import arms_of
from loopwright.simulation.warehouse.motions import go, plan_put, plan_take, put, take

EXPERT_NOISE = 0.02
"""Standard deviation of the Gaussian noise on an expert's speeds, as a share of the top speed."""


class Expert:
    """The motion of the fleet's scripted skill, with noise. Reads the state of its world."""

    name = f"warehouse-expert/1 noise={EXPERT_NOISE}"

    def __init__(self, world: WarehouseWorld) -> None:
        """Act in ``world`` only."""
        self._world = world
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin a new episode."""
        self._random = generator(seed, "warehouse-expert")
        self._motion: Motion | None = None
        self._hands: SimulatedHands | None = None

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action, float32 ``(1, A)``."""
        interface = self._world.interface
        if self._hands is None:
            self._hands = SimulatedHands(
                self._world.warehouse, self._world.robot, rate_hz=interface.rate_hz
            )
            self._motion = self._plan(self._hands)
        self._hands.refresh()
        command = self._next()
        speeds = len(command) - len(arms_of(self._world.robot))
        top = np.array(interface.action.high[:speeds])
        if command[:speeds].any():
            command[:speeds] += self._random.normal(0.0, EXPERT_NOISE, speeds) * top
        return interface.action.clip(command.astype(np.float32))[None]

    def _plan(self, hands: SimulatedHands) -> Motion | None:
        goal = self._world.goal
        try:
            if goal.skill == "drive":
                return go(hands, goal.station)
            if goal.skill == "pick":
                return take(hands, plan_take(hands, goal.object))
            return put(hands, plan_put(hands, goal.object, goal.surface))
        except GaveUp:
            return None

    def _next(self) -> np.ndarray:
        """Return the next command of the motion; what keeps still once it is over."""
        assert self._hands is not None
        if self._motion is not None:
            try:
                command = next(self._motion)
            except (StopIteration, GaveUp):
                self._motion = None
            else:
                if command is not None:
                    return command.copy()
        return self._hands.driver.grips()


class Play:
    """Undirected motion: every joint wanders, the hands open and close."""

    name = "warehouse-play/1"

    def __init__(self, world: WarehouseWorld) -> None:
        """Move the robot of ``world``."""
        self._action = world.interface.action
        self._noise = SmoothNoise(self._action.size)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin a new episode."""
        self._noise.reset(generator(seed, "warehouse-play"))

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action, float32 ``(1, A)``."""
        action = 0.5 * self._noise.draw() * np.array(self._action.high)
        return self._action.clip(action.astype(np.float32))[None]
