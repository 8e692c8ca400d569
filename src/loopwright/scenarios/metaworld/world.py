"""A simulated table with one task: physics by Meta-World, images by the fast renderer."""

from __future__ import annotations

from typing import Any

import numpy as np

from loopwright.core.errors import InvalidConfig, WorldError
from loopwright.core.interface import CameraSpec, Interface, Observation, VectorSpec
from loopwright.core.scenario import WorldStep
from loopwright.scenarios.metaworld.task import MetaWorldTask
from loopwright.simulation.faults import SimulationDiverged
from loopwright.simulation.graphics import choose_backend

CAMERA_NAME = "front"
PHYSICS_STEP_S = 0.0125
ACTION_HOLD = 2
"""Simulator steps per control step: 40 Hz, at which the scripted experts still succeed."""
STEPS_AFTER_SUCCESS = 4
"""Control steps that are still recorded once the task is done."""

_HAND_LOW_M = (-0.525, 0.348, -0.0525)
_HAND_HIGH_M = (0.525, 1.025, 0.7)


def interface_for(image_px: int) -> Interface:
    """Return what a policy sees and commands, with square images of that side.

    Raises:
        InvalidConfig: The side is odd, below 16 px or above 480 px.
    """
    if image_px > 480:
        raise InvalidConfig(f"image_px is {image_px}; worlds draw at most 480 px")
    return Interface(
        cameras=(CameraSpec(name=CAMERA_NAME, height_px=image_px, width_px=image_px),),
        proprio=VectorSpec(
            names=("tcp_x", "tcp_y", "tcp_z", "gripper_opening"),
            units=("m", "m", "m", "1"),
            low=(*_HAND_LOW_M, 0.0),
            high=(*_HAND_HIGH_M, 1.0),
        ),
        action=VectorSpec(
            names=("move_x", "move_y", "move_z", "grip"),
            units=("0.8 m/s", "0.8 m/s", "0.8 m/s", "1"),
            low=(-1.0,) * 4,
            high=(1.0,) * 4,
        ),
        rate_hz=1.0 / (PHYSICS_STEP_S * ACTION_HOLD),
    )


class MetaWorldWorld:
    """One simulated robot at one task. Holds an OpenGL context until :meth:`close`."""

    def __init__(self, task: MetaWorldTask, *, body: str = "robot", image_px: int = 64) -> None:
        """Compile the scene and prepare to draw it.

        Raises:
            UnknownName: There is no such body.
            InvalidConfig: The image side is impossible.
            MissingSystemLibrary: No OpenGL library is installed.
        """
        self.interface = interface_for(image_px)
        self.task = task
        choose_backend()
        from loopwright.scenarios.metaworld.renderer import FastRenderer
        from loopwright.scenarios.metaworld.simulation import make_simulation

        self._simulation = make_simulation(task)
        self._renderer = FastRenderer(self._simulation.model, image_px=image_px, body=body)
        self._privileged: np.ndarray | None = None
        self._steps = 0
        self._steps_done = 0
        self._closed = False

    @property
    def privileged_state(self) -> np.ndarray:
        """What the simulator alone knows, float64 ``(39,)``, in Meta-World's layout.

        Scripted experts read it. It is no part of any observation.
        """
        if self._privileged is None:
            raise WorldError("the world has no state yet; call reset(seed) first")
        return self._privileged

    def reset(self, seed: int) -> Observation:
        """Start over; the seed alone fixes the start."""
        if self._closed:
            raise WorldError(f"{self.task.id}: reset after close; make a new world")
        from loopwright.scenarios.metaworld.simulation import start_simulation

        self._privileged = start_simulation(self._simulation, self.task.start_vector(seed))
        self._steps = self._steps_done = 0
        return self._observe()

    def step(self, action: np.ndarray) -> WorldStep:
        """Hold one action, float32 ``(4,)``, for 25 ms.

        Raises:
            WorldError: The world was not reset, or the action is no vector of 4 finite numbers.
            SimulationDiverged: Physics went to infinity.
        """
        applied = self._checked(action)
        info: dict[str, Any] = {}
        for _ in range(ACTION_HOLD):
            self._privileged, _, _, _, info = self._simulation.step(applied)
        self._steps += 1
        self._refuse_divergence()
        evidence = self._evidence(info)
        done = evidence[0] <= self.task.success_within_m
        self._steps_done = self._steps_done + 1 if done or self._steps_done else 0
        return WorldStep(
            observation=self._observe(),
            evidence=evidence,
            applied=applied,
            ended=self._steps_done > STEPS_AFTER_SUCCESS,
        )

    def close(self) -> None:
        """Release the OpenGL context; idempotent. The world is of no use afterwards."""
        self._renderer.close()
        self._privileged = None
        self._closed = True

    def _checked(self, action: np.ndarray) -> np.ndarray:
        if self._privileged is None:
            raise WorldError("step before reset; call reset(seed) first")
        action = np.asarray(action, dtype=np.float32)
        if action.shape != (4,) or not np.isfinite(action).all():
            raise WorldError(f"action is {action!r}, expected 4 finite numbers in [-1, 1]")
        return self.interface.action.clip(action)

    def _observe(self) -> Observation:
        assert self._privileged is not None
        opening = self._privileged[3]
        proprio = np.append(self._simulation.tcp_center, opening).astype(np.float32)
        return Observation(
            images={CAMERA_NAME: self._renderer.draw(self._simulation.data)},
            proprio=proprio,
            instruction=self.task.instruction,
            time_s=self._steps / self.interface.rate_hz,
        )

    def _evidence(self, info: dict[str, Any]) -> np.ndarray:
        state = self.privileged_state
        if self.task.measure == "reported":
            object_to_target_m = float(info["obj_to_target"])
        else:
            object_to_target_m = abs(float(state[4] - state[36]))
        tcp_to_object_m = float(np.linalg.norm(state[4:7] - self._simulation.tcp_center))
        return np.array([object_to_target_m, tcp_to_object_m, float(info["success"])])

    def _refuse_divergence(self) -> None:
        """Raise if physics blew up; MuJoCo itself only warns and puts the robot back."""
        from mujoco import mjtWarning  # pyright: ignore[reportAttributeAccessIssue]

        data = self._simulation.data
        bad = (mjtWarning.mjWARN_BADQPOS, mjtWarning.mjWARN_BADQVEL, mjtWarning.mjWARN_BADQACC)
        if any(data.warning[w].number for w in bad) or not np.isfinite(data.qpos).all():
            self._privileged = None
            raise SimulationDiverged(
                f"{self.task.id}: physics diverged at {self._steps / self.interface.rate_hz:.3f} s"
            )
