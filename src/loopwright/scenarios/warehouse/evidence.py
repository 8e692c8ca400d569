"""What the simulator's state says about a goal, and what follows from it."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loopwright.scenarios.judgement import EvidenceVerifier, Judgement
from loopwright.scenarios.warehouse.task import Goal, SkillName
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.model import arms_of

if TYPE_CHECKING:
    from loopwright.simulation.warehouse.physics import Warehouse

HANDLING: tuple[str, ...] = (
    "object_x_m",
    "object_y_m",
    "object_z_m",
    "object_speed_m_s",
    "tool_to_object_m",
    "held",
    "above_surface_m",
    "inside_surface_m",
)
"""Of picking and placing: where the object is, how fast it goes, how far the nearest tool of the
robot is, whether a hand of it holds it (both pads touch it), how far its underside is above the
surface and its middle inside the nearest edge of it (negative: outside)."""
DRIVING: tuple[str, ...] = ("base_x_m", "base_y_m", "base_heading_rad", "off_m", "off_rad", "speed")
"""Of driving: where the base is, how far from its place at the goal, and its largest speed."""
EVIDENCE: Mapping[SkillName, tuple[str, ...]] = {
    "pick": HANDLING,
    "place": HANDLING,
    "drive": DRIVING,
}

LIFTED_M, IN_HAND_M, RESTS_M, STILL_M_S = 0.03, 0.05, 0.008, 0.05
THERE_M, THERE_RAD, STANDS = 0.05, 0.05, 0.05
LASTS_STEPS = 3
"""Control steps for which a goal must hold, up to the last."""


def evidence_of(world: Warehouse, robot: str, goal: Goal) -> np.ndarray:
    """Return what the state of a world says about a goal, float64 ``(E,)``."""
    return _driving(world, robot, goal) if goal.skill == "drive" else _handling(world, robot, goal)


def is_met(goal: Goal, row: np.ndarray) -> bool:
    """Tell whether one row of evidence meets a goal."""
    columns = dict(zip(EVIDENCE[goal.skill], row[:, None], strict=True))
    return bool(_MET[goal.skill](columns)[0])


def verifier_of(skill: SkillName) -> EvidenceVerifier:
    """Return the judge of a skill."""
    return EvidenceVerifier(
        name=f"warehouse-{skill}/1", columns=EVIDENCE[skill], judge=_LastingJudge(skill)
    )


@dataclass(frozen=True, slots=True)
class _LastingJudge:
    """Success when the goal is met in the last control steps, all of them."""

    skill: SkillName

    def __call__(self, evidence: Mapping[str, np.ndarray]) -> Judgement:
        met = _MET[self.skill](evidence)
        lasted = int(np.argmin(met[::-1])) if not met.all() else len(met)
        if lasted >= min(LASTS_STEPS, len(met)):
            return Judgement(
                outcome="success", score=1.0, reason=f"met for the last {lasted} steps"
            )
        return Judgement(
            outcome="failure",
            score=float(np.clip(_SCORE[self.skill](evidence), 0.0, 0.99)),
            reason=_REASON[self.skill](evidence),
        )


def _handling(world: Warehouse, robot: str, goal: Goal) -> np.ndarray:
    body = world.data.body(goal.object)
    middle_m = body.xpos.copy()
    speed_m_s = float(np.linalg.norm(world.data.joint(_free_joint(world, goal.object)).qvel[:3]))
    tools = (world.data.site(f"{arm}/tool").xpos for arm in arms_of(robot))
    tool_m = min(float(np.linalg.norm(tool - middle_m)) for tool in tools)
    held = world.robots[robot].holds(world.model.geom(goal.object).id)
    above_m, inside_m = _over(world, goal.surface, middle_m)
    return np.array([*middle_m, speed_m_s, tool_m, float(held), above_m, inside_m])


def _free_joint(world: Warehouse, name: str) -> int:
    return int(world.model.body(name).jntadr[0])


def _over(world: Warehouse, surface: str, middle_m: np.ndarray) -> tuple[float, float]:
    """Return how far above a surface and inside its edges an object is."""
    if surface in layout.SURFACES:
        table = layout.SURFACES[surface]
        top_m = np.array([*table.centre_m, layout.TABLE_TOP_M])
        size_m, turn_rad = table.size_m, 0.0
    else:
        top_m = world.data.body(surface).xpos + layout.DECK_M
        size_m, turn_rad = layout.DECK_SIZE_M[:2], world.stands_at(surface)[2]
    x, y, z = middle_m - top_m
    cos, sin = math.cos(turn_rad), math.sin(turn_rad)
    along, across = abs(cos * x + sin * y), abs(-sin * x + cos * y)
    inside_m = min(size_m[0] / 2 - along, size_m[1] / 2 - across)
    return float(z - layout.CUBE_M / 2), float(inside_m)


def _driving(world: Warehouse, robot: str, goal: Goal) -> np.ndarray:
    x, y, heading_rad = world.stands_at(robot)
    dock = layout.DOCKS[robot, goal.station]
    off_rad = abs(math.remainder(heading_rad - dock[2], 2 * math.pi))
    speed = float(np.abs(world.robots[robot].state(0.0).speed[:3]).max())
    return np.array([x, y, heading_rad, math.dist((x, y), dock[:2]), off_rad, speed])


Columns = Mapping[str, np.ndarray]


def _picked(seen: Columns) -> np.ndarray:
    near = seen["tool_to_object_m"] <= IN_HAND_M
    return (seen["held"] > 0.5) & near & (seen["above_surface_m"] >= LIFTED_M)


def _placed(seen: Columns) -> np.ndarray:
    rests = np.abs(seen["above_surface_m"]) <= RESTS_M
    free = (seen["held"] < 0.5) & (seen["object_speed_m_s"] <= STILL_M_S)
    return rests & free & (seen["inside_surface_m"] > 0.0)


def _there(seen: Columns) -> np.ndarray:
    return (seen["off_m"] <= THERE_M) & (seen["off_rad"] <= THERE_RAD) & (seen["speed"] <= STANDS)


_MET: Mapping[SkillName, Callable[[Columns], np.ndarray]] = {
    "pick": _picked,
    "place": _placed,
    "drive": _there,
}
_SCORE: Mapping[SkillName, Callable[[Columns], float]] = {
    "pick": lambda seen: (
        0.5 * float(np.exp(-5.0 * seen["tool_to_object_m"].min())) + 0.4 * float(seen["held"].max())
    ),
    "place": lambda seen: (
        float(np.exp(-5.0 * abs(seen["above_surface_m"][-1])))
        * float(seen["inside_surface_m"][-1] > 0)
    ),
    "drive": lambda seen: float(np.exp(-seen["off_m"][-1])),
}
_REASON: Mapping[SkillName, Callable[[Columns], str]] = {
    "pick": lambda seen: (
        f"at the end the tool is {seen['tool_to_object_m'][-1]:.3f} m from the object, which is "
        f"{'held' if seen['held'][-1] > 0.5 else 'not held'} and "
        f"{seen['above_surface_m'][-1]:.3f} m above the surface"
    ),
    "place": lambda seen: (
        f"at the end the object is {seen['above_surface_m'][-1]:.3f} m above the surface, "
        f"{seen['inside_surface_m'][-1]:.3f} m inside its edges, and "
        f"{'held' if seen['held'][-1] > 0.5 else 'not held'}"
    ),
    "drive": lambda seen: f"at the end the base is {seen['off_m'][-1]:.3f} m from its place",
}
