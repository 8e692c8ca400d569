"""The scenario ``point-reach-v1``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loopwright.core.episode import SourceKind
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Policy
from loopwright.core.scenario import Box, World
from loopwright.core.seeds import generator
from loopwright.scenarios.point.task import DOMAIN, EVIDENCE, start_of
from loopwright.scenarios.point.verifier import GoalVerifier
from loopwright.scenarios.point.world import (
    RATE_HZ,
    SPEED_M_S,
    PointWorld,
    body_names,
    interface_for,
)


class PointReach:
    """Steer a point to a goal in the plane."""

    id = "point-reach-v1"
    instruction = "go to the red goal"
    evidence = EVIDENCE
    domain: Box = DOMAIN
    max_steps = 20

    def __init__(self, image_px: int = 16) -> None:
        """Choose the side of the image."""
        self.interface: Interface = interface_for(image_px)
        self.verifier = GoalVerifier()

    def start(self, seed: int) -> Mapping[str, float]:
        """Return where a seed puts the goal."""
        return start_of(seed)

    def make_world(self, *, body: str = "robot", image_px: int | None = None) -> World:
        """Build the plane.

        Raises:
            UnknownName: There is no such body.
        """
        if body not in body_names():
            raise UnknownName("body", body, body_names())
        return PointWorld(body=body, image_px=image_px or self.interface.cameras[0].height_px)

    def behaviour(self, kind: SourceKind, world: World) -> Policy:
        """Return the expert (``demo``, ``video``) or random motion (``play``)."""
        if not isinstance(world, PointWorld):
            raise InvalidConfig(
                f"{self.id} acts in worlds it made itself, not in a {type(world).__name__}"
            )
        if kind in ("demo", "video"):
            return _Expert(world)
        if kind == "play":
            return _Wanderer()
        raise UnknownName("source kind", kind, ("demo", "play", "video"))


class _Expert:
    """Goes straight to the goal, with a little noise."""

    name = "expert/1"

    def __init__(self, world: PointWorld) -> None:
        self._world = world
        self._noise = generator(0)

    def reset(self, seed: int) -> None:
        self._noise = generator(seed, "expert")

    def act(self, observation: Observation) -> np.ndarray:
        way_m = self._world.goal_m - self._world.position_m
        action = way_m * RATE_HZ / SPEED_M_S + self._noise.normal(0.0, 0.05, size=2)
        return np.clip(action, -1.0, 1.0).astype(np.float32)[None]


class _Wanderer:
    """Keeps a random direction for a while, then takes another."""

    name = "wanderer/1"

    def __init__(self) -> None:
        self._noise = generator(0)

    def reset(self, seed: int) -> None:
        self._noise = generator(seed, "play")

    def act(self, observation: Observation) -> np.ndarray:
        action = self._noise.uniform(-1.0, 1.0, size=2)
        return np.repeat(action.astype(np.float32)[None], 5, axis=0)
