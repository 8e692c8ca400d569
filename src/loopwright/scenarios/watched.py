"""Worlds that are watched: how often a limit was exceeded, with the filter on or off.

The watch judges what was measured by the limits alone and shares no code with the filter, so that a
mistake there does not hide itself.

Shapes: N coordinates, P watched points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loopwright.core.interface import Observation
from loopwright.core.scenario import World, WorldStep
from loopwright.safety.body import Body, BodySpec, Measured, RobotEntry
from loopwright.safety.ladder import SafetyFilter
from loopwright.safety.limits import Limits
from loopwright.scenarios.filtered import Coupling, FilteredWorld

_ROUNDING = 1e-6
"""What float32 observations may add to a value that lies at its limit."""


def exceeded(limits: Limits, body: Body, measured: Measured) -> tuple[str, ...]:
    """Return the names of the limits that a measured state exceeds.

    A state that is not finite exceeds all of them at once: it is named ``"not finite"``.
    """
    if not (np.isfinite(measured.position).all() and np.isfinite(measured.speed).all()):
        return ("not finite",)
    moves = np.array([kind == "speed" for kind in body.spec.kinds])
    low, high = np.array(limits.position_low), np.array(limits.position_high)
    places = body.place(measured.position)
    point_speed = np.linalg.norm(places.jacobian @ measured.speed, axis=-1)
    found = {
        "position": moves & ((measured.position < low) | (measured.position > high)),
        "speed": moves & (np.abs(measured.speed) > np.array(limits.speed) + _ROUNDING),
        "point speed": point_speed > limits.point_speed_m_s + _ROUNDING,
        "wall": [_depth_m(limits, point) > _ROUNDING for point in places.position_m],
        "keep-out": [_is_inside(limits, point) for point in places.position_m],
    }
    return tuple(name for name, broken in found.items() if np.any(broken))


def _depth_m(limits: Limits, point: np.ndarray) -> float:
    """Return how far a point lies beyond the nearest wall; negative on the right side of all."""
    return max(
        (-float(np.dot(point - wall.point_m, wall.inward)) for wall in limits.walls), default=-1.0
    )


def _is_inside(limits: Limits, point: np.ndarray) -> bool:
    """Tell whether a point lies in a keep-out volume."""
    for volume in limits.keep_outs:
        nearest = np.clip(point, volume.low_m, volume.high_m)
        if float(np.linalg.norm(point - nearest)) <= volume.radius_m:
            return True
    return False


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
        self._body, self._limits = body, limits
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
        self.violations += bool(exceeded(self._limits, self._body, measured))


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
