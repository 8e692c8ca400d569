"""What acts to make source episodes: the scripted expert, and undirected play."""

from __future__ import annotations

import warnings

import numpy as np

from loopwright.core.interface import Observation
from loopwright.core.seeds import generator
from loopwright.scenarios.metaworld.world import MetaWorldWorld
from loopwright.scenarios.motion import SmoothNoise

EXPERT_NOISE = 0.1
"""Standard deviation of the Gaussian noise on an expert's action: it spreads demonstrations around
the ideal path, so that a clone has seen how to come back to it."""


PLAY_LOW_M = (-0.3, 0.45, 0.02)
PLAY_HIGH_M = (0.3, 0.85, 0.32)
"""Corners of the box over the table in which play wanders, around every object of the tasks."""


class Expert:
    """Meta-World's scripted policy, with noise. Reads the simulator's state from its world."""

    def __init__(self, world: MetaWorldWorld, *, noise: float = EXPERT_NOISE) -> None:
        """Act in ``world`` only, with Gaussian noise of that standard deviation."""
        from metaworld.policies import ENV_POLICY_MAP

        self.name = f"metaworld-expert/1 noise={noise}"
        self._world = world
        self._noise = noise
        self._script_class = ENV_POLICY_MAP[world.task.simulator]
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin a new episode."""
        self._script = self._script_class()
        self._random = generator(seed, "expert-noise")

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action, float32 ``(1, 4)``."""
        with warnings.catch_warnings():
            # The scripts warn whenever they ask for more than full speed, which is their habit.
            warnings.simplefilter("ignore")
            ideal = self._script.get_action(self._world.privileged_state)
        noise = self._random.normal(0.0, self._noise, 4)
        return np.clip(np.clip(ideal, -1, 1) + noise, -1, 1).astype(np.float32)[None]


class Play:
    """Undirected motion: the arm wanders between random places, the gripper opens and closes.

    Reads nothing but the observation. It goes where the tasks are, yet knows none of them.
    """

    name = "play/1"

    def __init__(self) -> None:
        """Start without a seed; call :meth:`reset` first."""
        self._motion = SmoothNoise(4)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin a new episode."""
        self._random = generator(seed, "play")
        self._motion.reset(self._random)
        self._steps_left = 0

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action, float32 ``(1, 4)``."""
        if self._steps_left == 0:
            self._place_m = self._random.uniform(PLAY_LOW_M, PLAY_HIGH_M)
            self._gain_per_m = self._random.uniform(4.0, 25.0)
            self._steps_left = int(self._random.integers(8, 24))
        self._steps_left -= 1
        action = self._motion.draw()
        towards = self._gain_per_m * (self._place_m - observation.proprio[:3])
        action[:3] = 0.5 * action[:3] + np.clip(towards, -1.0, 1.0)
        return np.clip(action, -1.0, 1.0).astype(np.float32)[None]
