"""A fast renderer: the same scene without what a small image cannot show.

Meta-World's default draws a 4096-texel shadow map, 4-fold multisampling, mirror images and 68,000
triangles for every frame, whatever its size. This one draws a thinned copy of the model without
them; the model that simulates is never touched, so physics is the same to the bit.
"""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from loopwright.scenarios.metaworld.bodies import dress
from loopwright.scenarios.metaworld.decimation import cell_for_image, decimate
from loopwright.simulation.graphics import GlContext, close_at_exit, make_context

if TYPE_CHECKING:
    import mujoco

CAMERA = "corner4"
"""Looks down on the table from the front right, close enough for the gripper to fill pixels."""


class FastRenderer:
    """Draws one simulated scene into square images.

    Holds an OpenGL context until :meth:`close`.
    """

    def __init__(self, model: mujoco.MjModel, *, image_px: int, body: str = "robot") -> None:
        """Prepare to draw states of ``model``.

        Args:
            model: The model that is simulated; it is copied, not changed.
            image_px: Side of the images.
            body: What the arm looks like (:data:`~loopwright.scenarios.metaworld.bodies.BODIES`).

        Raises:
            MissingSystemLibrary: No OpenGL library is installed.
            UnknownName: There is no such body.
        """
        import mujoco

        self._mujoco = mujoco
        self._drawn = _drawing_model(model, image_px, body)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(CAMERA).id
        self._option = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._scene = mujoco.MjvScene(self._drawn, maxgeom=model.ngeom + model.nsite + 64)
        for flag in ("SHADOW", "REFLECTION", "FOG", "HAZE"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        self._viewport = mujoco.MjrRect(0, 0, image_px, image_px)
        self._pixels = np.empty((image_px, image_px, 3), np.uint8)
        self._window: GlContext | None = make_context(image_px, image_px)
        self._window.make_current()
        self._context = mujoco.MjrContext(self._drawn, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        close_at_exit(self)

    def draw(self, data: mujoco.MjData) -> np.ndarray:
        """Return the image of a state, uint8 ``(image_px, image_px, 3)``, row 0 at the top."""
        if self._window is None:
            raise RuntimeError("this renderer is closed")
        mujoco = self._mujoco
        self._window.make_current()
        mujoco.mjv_updateScene(
            self._drawn,
            data,
            self._option,
            self._perturbation,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._context)
        # OpenGL's row 0 is at the bottom and Meta-World's corner cameras hang upside down, so the
        # rows are right already and only the columns are mirrored.
        return self._pixels[:, ::-1].copy()

    def close(self) -> None:
        """Release the OpenGL context; idempotent."""
        if self._window is None:
            return
        self._window.make_current()
        self._context.free()
        self._window.free()
        self._window = None


def _drawing_model(model: mujoco.MjModel, image_px: int, body: str) -> mujoco.MjModel:
    drawn = copy.copy(model)
    drawn.vis.quality.shadowsize = 0
    drawn.vis.quality.offsamples = 0
    drawn.vis.global_.offwidth = image_px
    drawn.vis.global_.offheight = image_px
    drawn.mat_reflectance[:] = 0.0
    dress(drawn, body)
    decimate(drawn, cell_for_image(image_px))
    return drawn
