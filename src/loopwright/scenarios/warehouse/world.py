"""The warehouse at one robot's task: its physics, its shoulder camera, its goal."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import WorldError
from loopwright.core.interface import Observation
from loopwright.core.scenario import WorldStep
from loopwright.scenarios.warehouse.evidence import LASTS_STEPS, evidence_of, is_met
from loopwright.scenarios.warehouse.interface import CAMERA, HOLD, interface_of, proprio_of
from loopwright.scenarios.warehouse.task import Goal
from loopwright.simulation.faults import SimulationDiverged
from loopwright.simulation.warehouse.model import RATE_HZ

if TYPE_CHECKING:
    from loopwright.simulation.warehouse.physics import Warehouse

Begin = Callable[["Warehouse", int], Goal]
"""Puts a fresh warehouse where a seed begins, and returns what it asks for."""


class WarehouseWorld:
    """One robot at work; the others stand. Holds an OpenGL context until :meth:`close`."""

    def __init__(self, name: str, robot: str, begin: Begin, *, image_px: int) -> None:
        """Build it.

        Args:
            name: Of the scenario, for messages.
            robot: Who acts.
            begin: Puts the warehouse where a seed begins.
            image_px: Side of the images.

        Raises:
            InvalidConfig: The image side is impossible.
            MissingSystemLibrary: No OpenGL library is installed.
        """
        self.interface = interface_of(robot, image_px)
        from loopwright.simulation.warehouse.camera import ShoulderCamera
        from loopwright.simulation.warehouse.physics import Warehouse

        self.name, self.robot, self._begin = name, robot, begin
        self.warehouse = Warehouse()
        self._origin = self.warehouse.moment()
        self._camera = ShoulderCamera(self.warehouse, robot, image_px=image_px)
        self._goal: Goal | None = None
        self._steps = self._steps_met = 0
        self._closed = False

    @property
    def goal(self) -> Goal:
        """What the present episode asks for."""
        if self._goal is None:
            raise WorldError(f"{self.name}: step before reset; call reset(seed) first")
        return self._goal

    def reset(self, seed: int) -> Observation:
        """Start over; the seed alone fixes the start."""
        if self._closed:
            raise WorldError(f"{self.name}: reset after close; make a new world")
        self.warehouse.restore(self._origin)
        self._goal = self._begin(self.warehouse, seed)
        self._steps = self._steps_met = 0
        return self._observe()

    def step(self, action: np.ndarray) -> WorldStep:
        """Hold one action, float32 ``(A,)``, for 50 ms.

        Raises:
            WorldError: The world was not reset, or the action is no vector of A finite numbers.
            SimulationDiverged: Physics went to infinity.
        """
        goal, applied = self.goal, self._checked(action)
        for _ in range(HOLD):
            self.warehouse.step({self.robot: applied.astype(np.float64)})
        self._steps += 1
        if not np.isfinite(self.warehouse.data.qpos).all() or self.warehouse.is_diverged():
            self._goal = None
            raise SimulationDiverged(f"{self.name}: physics diverged at step {self._steps}")
        evidence = evidence_of(self.warehouse, self.robot, goal)
        self._steps_met = self._steps_met + 1 if is_met(goal, evidence) else 0
        return WorldStep(
            observation=self._observe(),
            evidence=evidence,
            applied=applied,
            ended=self._steps_met > LASTS_STEPS,
        )

    def close(self) -> None:
        """Release the OpenGL context; idempotent. The world is of no use afterwards."""
        self._camera.close()
        self._goal = None
        self._closed = True

    def _checked(self, action: np.ndarray) -> np.ndarray:
        action, size = np.asarray(action, dtype=np.float32), self.interface.action.size
        if action.shape != (size,) or not np.isfinite(action).all():
            raise WorldError(f"action is {action!r}, expected {size} finite numbers")
        return self.interface.action.clip(action)

    def _observe(self) -> Observation:
        return Observation(
            images={CAMERA: self._camera.draw()},
            proprio=proprio_of(self.warehouse, self.robot),
            instruction=self.goal.instruction,
            time_s=self._steps * HOLD / RATE_HZ,
        )
