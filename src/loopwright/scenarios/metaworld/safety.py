"""Meta-World's Sawyer as the safety rooms see it: three axes of its tool, and the effort to grip.

The tool follows what is commanded with a lag; a command of zero holds it, for the simulator pins
the tool to a place.

Shapes: N = 4 coordinates, P = 1 point.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from loopwright.core.digest import digest_json
from loopwright.core.interface import Observation
from loopwright.core.scenario import World
from loopwright.safety.body import BodySpec, Forecast, Measured, Places
from loopwright.safety.ladder import ALL, Rungs, SafetyFilter
from loopwright.safety.limits import Limits, limits_for
from loopwright.safety.occurrence.rules import read_rules, ruled
from loopwright.scenarios.filtered import FilteredWorld
from loopwright.scenarios.metaworld.world import ACTION_HOLD, PHYSICS_STEP_S, interface_for

FULL_SPEED_M_S = 0.8
"""What an action of 1 commands."""
LAG_S = 0.045
"""Time constant with which the tool follows, rounded up from its answer to a step."""

ROOM_M = 0.15
"""Around the workspace: the distance in which the tool stops from full speed, and the margin."""


class SawyerBody:
    """A body without a simulator: its tool goes where it is commanded, with a lag."""

    def __init__(self) -> None:
        """Name it."""
        rate_hz = 1.0 / (PHYSICS_STEP_S * ACTION_HOLD)
        self.spec = BodySpec(
            robot="metaworld-sawyer-v1",
            coordinates=("tool_x", "tool_y", "tool_z", "grip"),
            units=("m", "m", "m", "1"),
            kinds=("speed", "speed", "speed", "effort"),
            points=("tool",),
            rate_hz=rate_hz,
            safe_state="zero-speed",
            build=digest_json({p: metadata.version(p) for p in ("metaworld", "mujoco")}),
        )
        self._jacobian = np.eye(3, 4)[None]
        self._follow = 1.0 - np.exp(-1.0 / (rate_hz * LAG_S))

    def place(self, position: np.ndarray) -> Places:
        """Return where the tool is: its coordinates are its place."""
        return Places(position_m=position[None, :3].copy(), jacobian=self._jacobian)

    def forecast(
        self, measured: Measured, command: np.ndarray, *, hold_steps: int, brake_steps: int
    ) -> Forecast:
        """Return where a command leads, held and then followed by zero, one row a control step."""
        steps = hold_steps + brake_steps
        speed = np.zeros((steps, 4))
        now = measured.speed[:3]
        for step in range(steps):
            wanted = command[:3] if step < hold_steps else np.zeros(3)
            now = now + self._follow * (wanted - now)
            speed[step, :3] = now
        position = measured.position + np.cumsum(speed, axis=0) / self.spec.rate_hz
        return Forecast(position=position, speed=speed, points_m=position[:, None, :3])


class SawyerCoupling:
    """Actions in shares of full speed; speed measured from one observation to the next."""

    def __init__(self) -> None:
        """Start without a past."""
        self._scale = np.array([FULL_SPEED_M_S] * 3 + [1.0])
        self._last = Measured(position=np.zeros(4), speed=np.zeros(4), time_s=0.0)

    def measure(self, observation: Observation, *, starts: bool) -> Measured:
        """Read the tool's place; an episode starts at rest."""
        position, speed = np.zeros(4), np.zeros(4)
        position[:3] = observation.proprio[:3]
        if not starts:
            passed_s = observation.time_s - self._last.time_s
            speed[:3] = (position[:3] - self._last.position[:3]) / passed_s
        self._last = Measured(position=position, speed=speed, time_s=observation.time_s)
        return self._last

    def request(self, action: object) -> object:
        """Return speeds in m/s and the grip; what is no action passes as it is."""
        if type(action) is np.ndarray and action.shape == (4,) and action.dtype.kind == "f":
            return action * self._scale
        return action

    def action(self, command: np.ndarray) -> np.ndarray:
        """Return the action, float32 ``(4,)``, that commands so."""
        return (command / self._scale).astype(np.float32)


def make_body() -> SawyerBody:
    """Return the Sawyer."""
    return SawyerBody()


def make_limits(
    profile: str = "simulated-workspace", overrides: Mapping[str, Any] | None = None
) -> Limits:
    """Return its limits: the simulated robot's workspace and some room, a profile, overrides.

    Experts push against the ends of the workspace, where the simulator stops them; the room is
    what they would need to brake by themselves. A real workspace is an override. Rules that came
    out of occurrences and hazards bind whatever was chosen.
    """
    proprio = interface_for(64).proprio
    workspace = {
        "position_low": (*(value - ROOM_M for value in proprio.low[:3]), 0.0),
        "position_high": (*(value + ROOM_M for value in proprio.high[:3]), 0.0),
    }
    spec = make_body().spec
    chosen = limits_for(spec, profile, {**workspace, **(overrides or {})})
    return ruled(chosen, spec.robot, read_rules())


def filtered(world: World, limits: Limits | None = None, rungs: Rungs = ALL) -> FilteredWorld:
    """Put the filter before a world of Meta-World."""
    safety_filter = SafetyFilter(make_body(), limits or make_limits(), rungs)
    return FilteredWorld(world, safety_filter, SawyerCoupling())
