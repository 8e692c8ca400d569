"""What distinguishes one Meta-World task from another, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import Box
from loopwright.core.seeds import generator

Measure = Literal["reported", "handle_x"]
"""How far the task is from done: the distance that the simulator reports, or the handle's distance
from its target along x (door-open reports none)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One component of the random vector that Meta-World draws at a reset."""

    name: str
    """Parameter of the operating domain, with its unit."""
    low: float
    high: float

    @property
    def varies(self) -> bool:
        """Whether starts differ in it; a constant is no part of the operating domain."""
        return self.low < self.high


@dataclass(frozen=True, kw_only=True, slots=True)
class MetaWorldTask:
    """One task: the simulator's name for it, where it starts and when it is done."""

    id: str
    """Versioned id of the scenario."""
    simulator: str
    """Meta-World's own id."""
    instruction: str
    placements: tuple[Placement, ...]
    """The components of the random vector, in the simulator's order."""
    success_within_m: float
    """The published criterion: done when the measured distance is at most this."""
    measure: Measure = "reported"
    apart_m: float = 0.0
    """Starts whose object and goal are nearer than this (in x and y) are drawn again."""

    def __post_init__(self) -> None:
        """Refuse a rule about object and goal for a task that places only one of them."""
        if self.apart_m and len(self.placements) != 6:
            raise InvalidConfig(f"{self.id}: apart_m needs an object and a goal of 3 components")

    @property
    def domain(self) -> Box:
        """The ranges of the components that vary."""
        varying = [p for p in self.placements if p.varies]
        return Box(
            low={p.name: p.low for p in varying},
            high={p.name: p.high for p in varying},
        )

    def start_vector(self, seed: int) -> np.ndarray:
        """Return the simulator's random vector for a seed, float64."""
        random = generator(seed, "metaworld-start", self.simulator)
        low = np.array([p.low for p in self.placements])
        high = np.array([p.high for p in self.placements])
        while True:
            vector = random.uniform(low, high)
            if not self.apart_m or np.linalg.norm(vector[:2] - vector[3:5]) >= self.apart_m:
                return vector

    def start(self, seed: int) -> Mapping[str, float]:
        """Return where in the domain a seed starts."""
        vector = self.start_vector(seed)
        return {
            p.name: float(value)
            for p, value in zip(self.placements, vector, strict=True)
            if p.varies
        }
