"""What a robot of the warehouse is asked for, as data, and where it begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopwright.core.scenario import Box
from loopwright.core.seeds import generator
from loopwright.simulation.warehouse import layout

SkillName = Literal["pick", "place", "drive"]
APART_M = 0.10
"""Least distance between the middles of two cubes at a start."""
_WORDS = {"table": "table", "tray": "tray", "shelf": "shelf", "cart-1": "cart", "mover-1": "mover"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What one episode asks for: the values of the skill's parameters."""

    skill: SkillName
    object: str = ""
    surface: str = ""
    station: str = ""

    @property
    def instruction(self) -> str:
        """What to do, in words."""
        if self.skill == "drive":
            return f"drive to the {self.station}"
        thing = f"the {self.object.split('-')[0]} cube"
        if self.skill == "pick":
            return f"pick up {thing}"
        return f"put {thing} on the {_WORDS.get(self.surface, self.surface)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class WarehouseTask:
    """One skill of one robot, with the starts that are practised."""

    robot: str
    skill: SkillName
    surface: str = ""
    """Where the robot works; empty for one that drives."""
    objects: tuple[str, ...] = ()
    """What lies on the surface; the seed says which of them is meant."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    max_steps: int
    """Control steps after which an attempt is over."""

    @property
    def id(self) -> str:
        """Versioned id, ``"warehouse-arm-pick-v1"``."""
        return f"warehouse-{self.robot.split('-')[0]}-{self.skill}-v1"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what varies, with units."""
        return PARAMETERS[self.skill]

    @property
    def domain(self) -> Box:
        """The ranges in which starts are drawn."""
        return Box(
            low=dict(zip(self.parameters, self.low, strict=True)),
            high=dict(zip(self.parameters, self.high, strict=True)),
        )

    def start(self, seed: int) -> Mapping[str, float]:
        """Return where in the domain a seed starts."""
        values = generator(seed, "warehouse-start", self.id).uniform(self.low, self.high)
        return dict(zip(self.parameters, values.tolist(), strict=True))

    def goal(self, seed: int) -> Goal:
        """Return what a seed asks for."""
        random = generator(seed, "warehouse-goal", self.id)
        if self.skill == "drive":
            _, to = random.choice(list(layout.STATIONS), 2, replace=False).tolist()
            return Goal(skill="drive", station=to)
        return Goal(skill=self.skill, object=str(random.choice(self.objects)), surface=self.surface)

    def origin(self, seed: int) -> str:
        """Return the station at which a seed begins, of a robot that drives."""
        random = generator(seed, "warehouse-goal", self.id)
        return str(random.choice(list(layout.STATIONS), 2, replace=False)[0])

    def places(self, seed: int) -> Mapping[str, tuple[float, float, float]]:
        """Return where on the surface each object lies at a seed: offsets in metres, radians."""
        if self.skill == "drive":
            return {}
        goal, start = self.goal(seed), self.start(seed)
        random = generator(seed, "warehouse-others", self.id)
        low, high = REACH[self.surface]
        placed: dict[str, tuple[float, float, float]] = {}
        if self.skill == "pick":
            x_m, y_m, turn_rad = (start[name] for name in self.parameters)
            placed[goal.object] = (x_m, y_m, turn_rad)
        for name in self.objects:
            while name != goal.object:
                x_m, y_m = random.uniform(low, high).tolist()
                if all(math.dist((x_m, y_m), other[:2]) >= APART_M for other in placed.values()):
                    turn_rad = float(random.uniform(-math.pi / 4, math.pi / 4))
                    placed[name] = (x_m, y_m, turn_rad)
                    break
        return placed


PARAMETERS: Mapping[SkillName, tuple[str, ...]] = {
    "pick": ("object_x_m", "object_y_m", "object_turn_rad"),
    "place": ("shoulder_rad", "elbow_rad", "wrist_rad"),
    "drive": ("off_x_m", "off_y_m", "off_heading_rad"),
}
"""What varies at the start of a skill: the object on its surface, from its centre; the joints 1, 4
and 6 of the arm that holds it, from rest; the base, from its place at the station."""

REACH: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "table": ((-0.12, -0.22), (0.08, 0.22)),
    "shelf": ((-0.12, -0.22), (0.08, 0.22)),
    "tray": ((-0.08, -0.13), (0.08, 0.13)),
}
"""Where on a surface things lie, from its centre: lowest and highest x and y in metres."""

_TURN = math.pi / 4


def _pick(robot: str, surface: str, objects: tuple[str, ...]) -> WarehouseTask:
    (x0, y0), (x1, y1) = REACH[surface]
    return WarehouseTask(
        robot=robot,
        skill="pick",
        surface=surface,
        objects=objects,
        low=(x0, y0, -_TURN),
        high=(x1, y1, _TURN),
        max_steps=300,
    )


def _place(robot: str, surface: str, objects: tuple[str, ...]) -> WarehouseTask:
    return WarehouseTask(
        robot=robot,
        skill="place",
        surface=surface,
        objects=objects,
        low=(-0.4, -0.15, -0.15),
        high=(0.4, 0.15, 0.15),
        max_steps=300,
    )


def _drive(robot: str) -> WarehouseTask:
    return WarehouseTask(
        robot=robot, skill="drive", low=(-0.1, -0.1, -0.2), high=(0.1, 0.1, 0.2), max_steps=900
    )


_AT_WORK = (
    ("arm-1", "table", ("red-cube", "blue-cube", "green-cube-1")),
    ("duo-1", "shelf", ("green-cube-2", "yellow-cube")),
    ("mover-1", "tray", ("red-cube", "yellow-cube")),
)
TASKS: tuple[WarehouseTask, ...] = (
    *(_pick(*work) for work in _AT_WORK),
    *(_place(*work) for work in _AT_WORK),
    _drive("mover-1"),
    _drive("cart-1"),
)


def task_of(robot: str, skill: str) -> WarehouseTask | None:
    """Return the task that a robot's skill is, if it is one."""
    found = [task for task in TASKS if (task.robot, task.skill) == (robot, skill)]
    return found[0] if found else None


def start_vector(task: WarehouseTask, start: Mapping[str, float]) -> np.ndarray:
    """Return a start as numbers in the order of the task's parameters, float64 ``(3,)``."""
    return np.array([start[name] for name in task.parameters])
