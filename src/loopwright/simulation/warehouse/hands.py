"""A robot of the warehouse in the hands of a motion, in simulated time."""

from __future__ import annotations

import numpy as np

from loopwright.simulation.warehouse.driver import WarehouseDriver
from loopwright.simulation.warehouse.model import arms_of
from loopwright.simulation.warehouse.physics import Warehouse


class SimulatedHands:
    """What a motion holds of its robot: exact measurements, and sight of everything."""

    def __init__(self, world: Warehouse, robot: str, *, rate_hz: float | None = None) -> None:
        """Take a robot of a world in hand.

        Args:
            world: Where it is.
            robot: Its name.
            rate_hz: How often its motions are asked; as often as the robot is, by default.
        """
        self.robot, self._world = robot, world
        self.driver = WarehouseDriver(robot)
        self.rate_hz = self.driver.rate_hz if rate_hz is None else rate_hz
        self.refresh()

    def refresh(self) -> None:
        """Measure."""
        state = self._world.robots[self.robot].state(0.0)
        self.position, self.speed = state.position, state.speed
        self.driver.held = dict(zip(arms_of(self.robot), state.touched, strict=True))

    def where(self, entity: str) -> np.ndarray:
        """Return where something is, float64 ``(7,)``."""
        return self._world.scene(0.0).poses[entity]
