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
    """Smooth random motion of arm and gripper that stays within the workspace."""

    name = "smooth-play/1"

    def __init__(self, world: MetaWorldWorld) -> None:
        """Act in ``world``; only the reach of its arm is read."""
        self._low, self._high = world.reach_m
        self._motion = SmoothNoise(4)

    def reset(self, seed: int) -> None:
        """Begin a new episode."""
        self._motion.reset(generator(seed, "play"))

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action, float32 ``(1, 4)``."""
        action = self._motion.draw()
        place = observation.proprio[:3]
        # Pushing on against the edge of the workspace shows commands without motion.
        action[:3] = np.where(place <= self._low, np.abs(action[:3]), action[:3])
        action[:3] = np.where(place >= self._high, -np.abs(action[:3]), action[:3])
        return action.astype(np.float32)[None]
