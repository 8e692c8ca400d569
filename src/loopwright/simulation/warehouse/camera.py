"""What a camera on a robot's shoulder sees: small pictures, drawn fast."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np

from loopwright.simulation.graphics import GlContext, close_at_exit, make_context

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

        self._mujoco, self._world, self._robot = mujoco, world, robot
        drawn = copy.copy(world.model)
        drawn.vis.quality.shadowsize = drawn.vis.quality.offsamples = 0
        drawn.vis.global_.offwidth = drawn.vis.global_.offheight = image_px
        self._drawn, self._option = drawn, mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._scene = mujoco.MjvScene(drawn, maxgeom=drawn.ngeom + drawn.nsite + 64)
        for flag in ("SHADOW", "REFLECTION", "FOG", "HAZE", "SKYBOX"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.distance, self._camera.elevation = DISTANCE_M, ELEVATION_DEG
        self._viewport = mujoco.MjrRect(0, 0, image_px, image_px)
        self._pixels = np.empty((image_px, image_px, 3), np.uint8)
        self._window: GlContext | None = make_context(image_px, image_px)
        self._window.make_current()
        self._context = mujoco.MjrContext(drawn, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        close_at_exit(self)

    def draw(self) -> np.ndarray:
        """Return what is seen now, uint8 ``(image_px, image_px, 3)``, row 0 at the top."""
        if self._window is None:
            raise RuntimeError("this camera is closed")
        x, y, heading_rad = self._world.stands_at(self._robot)
        self._camera.lookat[:] = (
            x + AHEAD_M * math.cos(heading_rad),
            y + AHEAD_M * math.sin(heading_rad),
            LOOKS_AT_M,
        )
        self._camera.azimuth = math.degrees(heading_rad) + ASIDE_DEG
        mujoco = self._mujoco
        self._window.make_current()
        mujoco.mjv_updateScene(
            self._drawn,
            self._world.data,
            self._option,
            self._perturbation,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._context)
        return self._pixels[::-1].copy()  # OpenGL's row 0 is at the bottom

    def close(self) -> None:
        """Release the OpenGL context; idempotent."""
        if self._window is None:
            return
        self._window.make_current()
        self._context.free()
        self._window.free()
        self._window = None
