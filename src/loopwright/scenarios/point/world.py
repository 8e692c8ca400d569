"""The plane, the point and its picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loopwright.core.interface import CameraSpec, Interface, Observation, VectorSpec
from loopwright.core.scenario import WorldStep
from loopwright.scenarios.point.task import SUCCESS_WITHIN_M, start_of

RATE_HZ = 10.0
SPEED_M_S = 1.5
_BACKGROUND, _GOAL, _POINT = (32, 36, 48), (214, 69, 65), (240, 240, 240)
_BODIES: Mapping[str, tuple[int, int, int]] = {"robot": _POINT, "recoloured": (222, 184, 135)}


def body_names() -> list[str]:
    """Return the bodies that can be drawn."""
    return list(_BODIES)


def interface_for(image_px: int) -> Interface:
    """Return the interface with a square image of the given side."""
    names = ("x_m", "y_m", "goal_x_m", "goal_y_m")
    return Interface(
        cameras=(CameraSpec(name="top", height_px=image_px, width_px=image_px),),
        proprio=VectorSpec(names=names, units=("m",) * 4, low=(-1.0,) * 4, high=(1.0,) * 4),
        action=VectorSpec(
            names=("x", "y"), units=("of top speed",) * 2, low=(-1.0,) * 2, high=(1.0,) * 2
        ),
        rate_hz=RATE_HZ,
    )


class PointWorld:
    """A square of 2 m by 2 m in which a point moves as commanded, without inertia."""

    def __init__(self, *, body: str, image_px: int) -> None:
        """Build the plane."""
        self.interface = interface_for(image_px)
        self._colour = _BODIES[body]
        self._image_px = image_px
        self.position_m = np.zeros(2)
        self.goal_m = np.zeros(2)
        self._steps = 0

    def reset(self, seed: int) -> Observation:
        """Put the point into the middle and the goal where the seed says."""
        start = start_of(seed)
        self.position_m = np.zeros(2)
        self.goal_m = np.array([start["goal_x_m"], start["goal_y_m"]])
        self._steps = 0
        return self._observation()

    def step(self, action: np.ndarray) -> WorldStep:
        """Move for one control step."""
        applied = np.clip(action, -1.0, 1.0).astype(np.float32)
        self.position_m = np.clip(self.position_m + applied * SPEED_M_S / RATE_HZ, -1.0, 1.0)
        self._steps += 1
        distance_m = float(np.linalg.norm(self.goal_m - self.position_m))
        return WorldStep(
            observation=self._observation(),
            evidence=np.array([distance_m]),
            applied=applied,
            ended=distance_m <= SUCCESS_WITHIN_M,
        )

    def close(self) -> None:
        """Hold nothing, release nothing."""

    def _observation(self) -> Observation:
        image = np.full((self._image_px, self._image_px, 3), _BACKGROUND, np.uint8)
        for place_m, colour in ((self.goal_m, _GOAL), (self.position_m, self._colour)):
            self._dot(image, place_m, colour)
        return Observation(
            images={"top": image},
            proprio=np.concatenate([self.position_m, self.goal_m]).astype(np.float32),
            instruction="go to the red goal",
            time_s=self._steps / RATE_HZ,
        )

    def _dot(self, image: np.ndarray, place_m: np.ndarray, colour: tuple[int, int, int]) -> None:
        side = self._image_px
        column, row = ((place_m * (1, -1) + 1) / 2 * (side - 1)).round().astype(int)
        half = max(1, side // 16)
        image[max(0, row - half) : row + half, max(0, column - half) : column + half] = colour
