"""A Gymnasium environment as a world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from loopwright.core.errors import UsageError, WorldError
from loopwright.core.interface import Interface, Observation
from loopwright.core.scenario import WorldStep
from loopwright.scenarios.gymnasium.resize import resize
from loopwright.scenarios.gymnasium.spaces import ActionCodec
from loopwright.simulation.graphics import close_at_exit

StartAt = Callable[[gymnasium.Env[Any, Any], int], Any]
"""Puts a freshly reset environment where a seed starts and returns the observation there."""


class GymnasiumWorld:
    """One environment that draws with ``render()``. Owns and closes it."""

    def __init__(
        self,
        environment: gymnasium.Env[Any, Any],
        *,
        interface: Interface,
        codec: ActionCodec,
        instruction: str,
        info_keys: tuple[str, ...],
        hold: int,
        start_at: StartAt | None,
    ) -> None:
        """Wrap ``environment``; the other parts are the scenario's."""
        self.interface = interface
        self._environment = environment
        self._codec = codec
        self._instruction = instruction
        self._info_keys = info_keys
        self._hold = hold
        self._start_at = start_at
        self._steps: int | None = None
        self._closed = False

    def reset(self, seed: int) -> Observation:
        """Start over; the seed alone fixes the start."""
        if self._closed:
            raise WorldError("reset after close; make a new world")
        raw, _ = self._environment.reset(seed=seed)
        if self._start_at is not None:
            raw = self._start_at(self._environment, seed)
        self._steps = 0
        observation = self._observe(raw)
        close_at_exit(self)
        return observation

    def step(self, action: np.ndarray) -> WorldStep:
        """Hold one action, float32 ``(A,)``, for one control step.

        Raises:
            WorldError: The world was not reset, the action does not fit, or the environment's
                info lacks a key that the scenario names.
        """
        if self._steps is None:
            raise WorldError("step before reset; call reset(seed) first")
        size = self._codec.spec.size
        action = np.asarray(action, dtype=np.float32)
        if action.shape != (size,) or not np.isfinite(action).all():
            raise WorldError(f"action is {action!r}, expected {size} finite numbers in [-1, 1]")
        applied = self._codec.spec.clip(action)
        raw, reward, terminated, truncated, info = self._advance(applied)
        self._steps += 1
        observation = self._observe(raw)
        return WorldStep(
            observation=observation,
            evidence=np.array(
                [
                    *observation.proprio.astype(np.float64),
                    reward,
                    float(terminated),
                    float(truncated),
                    *(self._info(info, key) for key in self._info_keys),
                ]
            ),
            applied=applied,
            ended=bool(terminated or truncated),
        )

    def close(self) -> None:
        """Release the environment and its renderer; idempotent."""
        if not self._closed:
            self._environment.close()
        self._closed, self._steps = True, None

    def _advance(self, applied: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step ``hold`` times, or until the environment ends; rewards add up."""
        action = self._codec.decode(applied)
        raw, reward, terminated, truncated, info = self._environment.step(action)
        for _ in range(self._hold - 1):
            if terminated or truncated:
                break
            raw, gained, terminated, truncated, info = self._environment.step(action)
            reward = float(reward) + float(gained)
        return raw, float(reward), terminated, truncated, info

    def _observe(self, raw: Any) -> Observation:
        assert self._steps is not None
        flat = spaces.flatten(self._environment.observation_space, raw)
        camera = self.interface.cameras[0]
        return Observation(
            images={camera.name: self._draw(camera.height_px)},
            proprio=np.asarray(flat, dtype=np.float32).reshape(-1),
            instruction=self._instruction,
            time_s=self._steps / self.interface.rate_hz,
        )

    def _draw(self, side_px: int) -> np.ndarray:
        try:
            image = self._environment.render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise UsageError(f"the environment cannot draw: {error}") from error
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
            raise WorldError(
                f"render() gave {getattr(image, 'shape', type(image).__name__)}, "
                "expected an RGB image (H, W, 3)"
            )
        if image.dtype != np.uint8:
            raise WorldError(f"render() gave {image.dtype}, expected uint8")
        return resize(image, side_px)

    def _info(self, info: dict[str, Any], key: str) -> float:
        if key not in info:
            raise WorldError(f"info lacks {key!r}, which the scenario records; it has {list(info)}")
        return float(info[key])
