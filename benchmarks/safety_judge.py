"""Judges a run of the arm against its limits, from the plant's true state.

Nothing of the filter is used here: places come from the simulation, the speed of a point is the
way it went in one step, and the geometry is written down again.
"""

# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import dataclass, field

import mujoco
import numpy as np

from loopwright.safety.limits import Limits
from loopwright.simulation.mujoco_body import MujocoPlant

KINDS = ("position", "speed", "point speed", "wall", "keep-out")
GEOMETRY = ("position", "wall", "keep-out")
_ROUNDING = 1e-9


@dataclass
class Judge:
    """Watches one episode of a plant; ask for :meth:`violations` at its end."""

    plant: MujocoPlant
    limits: Limits
    qpos: list[np.ndarray] = field(default_factory=list)
    qvel: list[np.ndarray] = field(default_factory=list)
    points_m: list[np.ndarray] = field(default_factory=list)

    def look(self) -> None:
        """Note the true state; once at the start, then after every step."""
        data = self.plant.data
        mujoco.mj_kinematics(self.plant.model, data)
        self.qpos.append(data.qpos.copy())
        self.qvel.append(data.qvel.copy())
        self.points_m.append(data.site_xpos[self.plant.parts.site_numbers])

    def violations(self) -> dict[str, np.ndarray]:
        """Return for each kind of limit whether it was broken after each step, bool ``(T,)``."""
        limits = self.limits
        qpos, qvel = np.array(self.qpos[1:]), np.array(self.qvel[1:])
        path_m = np.array(self.points_m)
        points_m = path_m[1:]
        way_m = np.linalg.norm(np.diff(path_m, axis=0), axis=2)
        low, high = np.array(limits.position_low), np.array(limits.position_high)
        broken = {
            "position": ((qpos < low - _ROUNDING) | (qpos > high + _ROUNDING)).any(1),
            "speed": (np.abs(qvel) > np.array(limits.speed) + _ROUNDING).any(1),
            "point speed": (
                way_m * self.plant.spec.rate_hz > limits.point_speed_m_s + _ROUNDING
            ).any(1),
            "wall": np.zeros(len(qpos), bool),
            "keep-out": np.zeros(len(qpos), bool),
        }
        for wall in limits.walls:
            depth = (points_m - np.array(wall.point_m)) @ np.array(wall.inward)
            broken["wall"] |= (depth < -_ROUNDING).any(1)
        for box in limits.keep_outs:
            below = np.maximum(np.array(box.low_m) - points_m, 0)
            above = np.maximum(points_m - np.array(box.high_m), 0)
            apart = np.linalg.norm(below + above, axis=2)
            inside = apart < box.radius_m - _ROUNDING if box.radius_m else apart <= 0
            broken["keep-out"] |= inside.any(1)
        return broken

    def fastest_point_m_s(self) -> float:
        """Return the largest speed of a watched point."""
        way_m = np.linalg.norm(np.diff(np.array(self.points_m), axis=0), axis=2)
        return float(way_m.max()) * self.plant.spec.rate_hz

    def least_margin(self) -> float:
        """Return how near the worst step came to a limit: shares of limits left, or metres."""
        limits = self.limits
        points_m, qpos = np.array(self.points_m), np.array(self.qpos)
        margins = [
            1 - self.fastest_point_m_s() / limits.point_speed_m_s,
            float((1 - np.abs(np.array(self.qvel)) / np.array(limits.speed)).min()),
            float((qpos - np.array(limits.position_low)).min()),
            float((np.array(limits.position_high) - qpos).min()),
        ]
        for wall in limits.walls:
            depth = (points_m - np.array(wall.point_m)) @ np.array(wall.inward)
            margins.append(float(depth.min()))
        return min(margins)
