"""Where the goal may lie, and what counts as there."""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.core.scenario import Box
from loopwright.core.seeds import generator

SUCCESS_WITHIN_M = 0.1
EVIDENCE = ("goal_distance_m",)
DOMAIN = Box(low={"goal_x_m": -0.9, "goal_y_m": -0.9}, high={"goal_x_m": 0.9, "goal_y_m": 0.9})


def start_of(seed: int) -> Mapping[str, float]:
    """Return where a seed puts the goal: uniformly over the domain."""
    x_m, y_m = generator(seed, "point", "goal").uniform(-0.9, 0.9, size=2)
    return {"goal_x_m": float(x_m), "goal_y_m": float(y_m)}
