"""What a camera on a robot's shoulder sees: small pictures, drawn fast."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np

from loopwright.simulation.offscreen import Offscreen

if TYPE_CHECKING:
    from loopwright.simulation.warehouse.physics import Warehouse

AHEAD_M, LOOKS_AT_M, DISTANCE_M = 0.45, 0.58, 0.95
ELEVATION_DEG, ASIDE_DEG = -32.0, 140.0
"""It looks over the robot's shoulder at what is in front of it, from ahead and aside."""


class ShoulderCamera:
    """The camera of one robot. Holds an OpenGL context until :meth:`close`."""

    def __init__(self, world: Warehouse, robot: str, *, image_px: int) -> None:
        """Prepare to draw states of a world.

        Raises:
            MissingSystemLibrary: No OpenGL library is installed.
        """
        import mujoco

        self._world, self._robot = world, robot
        drawn = copy.copy(world.model)
        drawn.vis.quality.shadowsize = drawn.vis.quality.offsamples = 0
        drawn.vis.global_.offwidth = drawn.vis.global_.offheight = image_px
        self._camera = mujoco.MjvCamera()
        self._camera.distance, self._camera.elevation = DISTANCE_M, ELEVATION_DEG
        self._offscreen = Offscreen(drawn, image_px, sky=False)

    def draw(self) -> np.ndarray:
        """Return what is seen now, uint8 ``(image_px, image_px, 3)``, row 0 at the top."""
        x, y, heading_rad = self._world.stands_at(self._robot)
        self._camera.lookat[:] = (
            x + AHEAD_M * math.cos(heading_rad),
            y + AHEAD_M * math.sin(heading_rad),
            LOOKS_AT_M,
        )
        self._camera.azimuth = math.degrees(heading_rad) + ASIDE_DEG
        return self._offscreen.draw(self._world.data, self._camera)[::-1].copy()

    def close(self) -> None:
        """Release the OpenGL context; idempotent."""
        self._offscreen.close()
