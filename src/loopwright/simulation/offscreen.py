"""Drawing one model into small square images, without a screen and what would not show."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.simulation.graphics import GlContext, close_at_exit, make_context

if TYPE_CHECKING:
    import mujoco

_LEFT_OUT = ("SHADOW", "REFLECTION", "FOG", "HAZE")


class Offscreen:
    """An OpenGL context with a model in it, held until :meth:`close`."""

    def __init__(self, model: mujoco.MjModel, image_px: int, *, sky: bool) -> None:
        """Prepare to draw states of a model.

        Args:
            model: What is drawn; its ``vis`` says how finely.
            image_px: Side of the images.
            sky: Whether the model's sky box is drawn where nothing stands before it.

        Raises:
            MissingSystemLibrary: No OpenGL library is installed.
        """
        import mujoco

        self._mujoco, self.model = mujoco, model
        self._option, self._perturbation = mujoco.MjvOption(), mujoco.MjvPerturb()
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + model.nsite + 64)
        for flag in _LEFT_OUT if sky else (*_LEFT_OUT, "SKYBOX"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        self._viewport = mujoco.MjrRect(0, 0, image_px, image_px)
        self._pixels = np.empty((image_px, image_px, 3), np.uint8)
        self._window: GlContext | None = make_context(image_px, image_px)
        self._window.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        close_at_exit(self)

    def draw(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> np.ndarray:
        """Return the image of a state, uint8 ``(image_px, image_px, 3)``, row 0 at the *bottom*.

        It is overwritten by the next one.
        """
        if self._window is None:
            raise RuntimeError("this renderer is closed")
        mujoco = self._mujoco
        self._window.make_current()
        mujoco.mjv_updateScene(
            self.model,
            data,
            self._option,
            self._perturbation,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._viewport, self._context)
        return self._pixels

    def close(self) -> None:
        """Release the OpenGL context; idempotent."""
        if self._window is None:
            return
        self._window.make_current()
        self._context.free()
        self._window.free()
        self._window = None
