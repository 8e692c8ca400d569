"""Worlds that are watched: how often a limit was exceeded, with the filter on or off.

The watch judges what was measured by the limits alone and shares no code with the filter, so that a
mistake there does not hide itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loopwright.core.interface import Observation
from loopwright.core.scenario import World, WorldStep
from loopwright.safety.body import Body, BodySpec, RobotEntry
from loopwright.safety.ladder import SafetyFilter
from loopwright.safety.limits import Limits
from loopwright.safety.occurrence.violation import LimitWatch
from loopwright.scenarios.filtered import Coupling, FilteredWorld

_ROUNDING = 1e-6
"""What float32 observations may add to a value that lies at its limit."""


class WatchedWorld:
    """A :class:`~loopwright.core.scenario.World` that counts, since its last reset."""

    def __init__(self, world: World, coupling: Coupling, body: Body, limits: Limits) -> None:
        """Watch a world, which it owns from then on.

        Args:
            world: Filtered or not.
            coupling: Not shared with the filter: it may remember what it measured last.
            body: Where the watched points are.
            limits: What counts as exceeded.
        """
        self._world, self._coupling = world, coupling
        self._watch = LimitWatch(body, limits, rounding=_ROUNDING)
        self.violations = 0
        """Control steps that ended with a limit exceeded."""
        self.trips = 0
        """Control steps with a latched brake."""

    def reset(self, seed: int) -> Observation:
        """Start over, with nothing counted."""
        observation = self._world.reset(seed)
        self.violations = self.trips = 0
        self._look(observation, starts=True)
        return observation

    def step(self, action: np.ndarray) -> WorldStep:
        """Act, and look whether a limit is exceeded."""
        step = self._world.step(action)
        self._look(step.observation, starts=False)
        if isinstance(self._world, FilteredWorld):
            self.trips += self._world.filter.latched is not None
        return step

    def close(self) -> None:
        """Release the world; idempotent."""
        self._world.close()

    def _look(self, observation: Observation, *, starts: bool) -> None:
        measured = self._coupling.measure(observation, starts=starts)
        self.violations += bool(self._watch.exceeded(measured))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rig:
    """A robot in a scenario's world with its limits: what is certified with the candidate."""

    spec: BodySpec
    entry: RobotEntry
    body: Body
    limits: Limits
    world: Callable[[], World]
    """Builds the scenario's world."""
    coupling: Callable[[], Coupling]

    @property
    def filter(self) -> str:
        """Digest of the filter."""
        return SafetyFilter(self.body, self.limits).digest

    def make_world(self, *, filtered: bool) -> WatchedWorld:
        """Build the world, watched, with the filter on or off."""
        world = self.world()
        if filtered:
            world = FilteredWorld(world, SafetyFilter(self.body, self.limits), self.coupling())
        return WatchedWorld(world, self.coupling(), self.body, self.limits)
