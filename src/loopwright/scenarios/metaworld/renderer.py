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
from loopwright.simulation.offscreen import Offscreen

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

        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(CAMERA).id
        self.offscreen = Offscreen(_drawing_model(model, image_px, body), image_px, sky=True)

    def draw(self, data: mujoco.MjData) -> np.ndarray:
        """Return the image of a state, uint8 ``(image_px, image_px, 3)``, row 0 at the top."""
        # Meta-World's corner cameras hang upside down, so the rows are right already and only the
        # columns are mirrored.
        return self.offscreen.draw(data, self._camera)[:, ::-1].copy()

    def close(self) -> None:
        """Release the OpenGL context; idempotent."""
        self.offscreen.close()


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
