"""Where everything is: the one description that simulation and memories are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

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

MOBILE = tuple(name for name in ROBOTS if "base" in PARTS[name])
SEEN = (*CUBES, *MOBILE)
"""What moves, in the order of the scene's poses."""
