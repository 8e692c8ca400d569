"""Where everything is: the one description that the simulation and the memory are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from loopwright.robot.memory.things import Thing, Things

Size3 = tuple[float, float, float]
TABLE_TOP_M = 0.42
CUBE_M = 0.04
ARM_ON_FLOOR_M = 0.42
"""Height at which fixed arms stand."""
ARM_ON_BASE_M = 0.42
DECK_M: Size3 = (0.0, 0.0, 0.36)
DECK_SIZE_M: Size3 = (0.36, 0.30, 0.10)

Pose2 = tuple[float, float, float]
"""x and y in metres, heading in radians."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """A table: a box on the floor."""

    centre_m: tuple[float, float]
    size_m: tuple[float, float]
    capacity: int
    words: Mapping[str, tuple[str, ...]]


STATIONS: Mapping[str, tuple[tuple[float, float], tuple[str, ...]]] = {
    "bench": ((0.35, 0.0), ("工作台",)),
    "door": ((4.0, 0.0), ("门",)),
    "store": ((0.35, 4.0), ("仓库",)),
}
"""Centre, and what it is called in Chinese."""
STATION_RADIUS_M = 1.25

SURFACES: Mapping[str, Surface] = {
    "table": Surface(
        centre_m=(0.55, 0.0), size_m=(0.40, 0.70), capacity=8, words={"zh": ("桌子",)}
    ),
    "tray": Surface(
        centre_m=(4.35, 0.0), size_m=(0.30, 0.40), capacity=4, words={"zh": ("托盘", "门")}
    ),
    "shelf": Surface(
        centre_m=(0.55, 4.0), size_m=(0.40, 0.70), capacity=8, words={"zh": ("架子",)}
    ),
}

ROBOTS: Mapping[str, Pose2] = {
    "arm-1": (0.0, 0.0, 0.0),
    "cart-1": (0.0, 3.2, 0.0),
    "mover-1": (3.80, 0.0, 0.0),
    "duo-1": (0.0, 4.0, 0.0),
}
"""Where they start."""

DOCKS: Mapping[tuple[str, str], Pose2] = {
    ("cart-1", "bench"): (0.05, -0.60, 0.0),
    ("cart-1", "door"): (3.85, -0.62, 0.0),
    ("cart-1", "store"): (0.0, 3.2, 0.0),
    ("mover-1", "bench"): (1.08, 0.0, math.pi),
    ("mover-1", "door"): (3.80, 0.0, 0.0),
    ("mover-1", "store"): (1.08, 4.0, math.pi),
}
"""Where a mobile robot stands to work at a station."""

AISLE_X_M = 2.0
"""Where mobile robots pass from one station to another."""

CUBES: Mapping[str, tuple[str, str, tuple[float, float]]] = {
    "red-cube": ("table", "红色", (-0.05, 0.12)),
    "blue-cube": ("table", "蓝色", (-0.05, -0.12)),
    "green-cube-1": ("table", "绿色", (0.08, 0.02)),
    "green-cube-2": ("shelf", "绿色", (-0.05, 0.10)),
    "yellow-cube": ("shelf", "黄色", (-0.05, -0.12)),
}
"""On which surface, in Chinese, and where from the surface's centre."""

COLORS = {
    "red": "0.85 0.16 0.16 1",
    "blue": "0.16 0.33 0.85 1",
    "green": "0.15 0.62 0.27 1",
    "yellow": "0.93 0.76 0.13 1",
}

PARTS = {
    "arm-1": ("arm", "gripper"),
    "cart-1": ("base",),
    "mover-1": ("arm", "gripper", "base"),
    "duo-1": ("arm", "gripper"),
}
_CHINESE_ROBOTS = {
    "arm-1": ("机械臂",), "cart-1": ("小车",), "mover-1": ("移动机器人",), "duo-1": ("双臂机器人",),
}  # fmt: skip


def things() -> Things:
    """Return everything in the warehouse that has a name."""
    found = [
        Thing(
            name=name,
            kind="station",
            position_m=(*centre_m, 0.0),
            radius_m=STATION_RADIUS_M,
            words={"zh": chinese},
        )
        for name, (centre_m, chinese) in STATIONS.items()
    ]
    found += [
        Thing(
            name=name,
            kind="surface",
            position_m=(*s.centre_m, TABLE_TOP_M),
            size_m=(s.size_m[0], s.size_m[1], 0.10),
            capacity=s.capacity,
            words=s.words,
        )
        for name, s in SURFACES.items()
    ]
    for name, start in ROBOTS.items():
        moves = "base" in PARTS[name]
        found.append(
            Thing(
                name=name,
                kind="robot",
                position_m=None if moves else (start[0], start[1], 0.0),
                deck_m=DECK_M if name == "cart-1" else None,
                size_m=DECK_SIZE_M if name == "cart-1" else (0.0, 0.0, 0.0),
                capacity=2,
                drift_m_per_root_s=0.02 if moves else 0.0,
                parts=PARTS[name],
                words={"en": (name.split("-")[0],), "zh": _CHINESE_ROBOTS[name]},
            )
        )
    for name, (_, chinese, _) in CUBES.items():
        color = name.split("-")[0]
        found.append(
            Thing(
                name=name,
                kind="object",
                size_m=(CUBE_M, CUBE_M, CUBE_M),
                drift_m_per_root_s=0.001,
                properties={"color": color, "shape": "cube"},
                words={"en": (f"{color} cube",), "zh": (chinese, "方块")},
            )
        )
    return Things(found)
