"""What acts to make source episodes: a given expert, and smooth random actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loopwright.core.interface import Observation
from loopwright.core.seeds import generator
from loopwright.scenarios.gymnasium.spaces import ActionCodec
from loopwright.scenarios.motion import SmoothNoise


class Expert:
    """A function from the flat observation to an action of the environment, with noise."""

    def __init__(
        self, function: Callable[[np.ndarray], Any], codec: ActionCodec, *, noise: float
    ) -> None:
        """Act by ``function``, with Gaussian noise of that standard deviation on the vector."""
        self.name = f"expert {getattr(function, '__name__', 'function')} noise={noise}"
        self._function, self._codec, self._noise = function, codec, noise
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin a new episode."""
        self._random = generator(seed, "expert-noise")

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action, float32 ``(1, A)``."""
        vector = self._codec.encode(self._function(observation.proprio.astype(np.float64)))
        noise = self._random.normal(0.0, self._noise, vector.shape)
        return np.clip(vector + noise, -1.0, 1.0).astype(np.float32)[None]


class Play:
    """Smooth random actions."""

    name = "play/1"

    def __init__(self, size: int) -> None:
        """Act with vectors of that many components."""
        self._motion = SmoothNoise(size)

    def reset(self, seed: int) -> None:
        """Begin a new episode."""
        self._motion.reset(generator(seed, "play"))

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action, float32 ``(1, A)``."""
        return self._motion.draw().astype(np.float32)[None]
