"""Everything in the warehouse that has a name, for the world memory and the brain."""

from __future__ import annotations

from loopwright.robot.memory.things import Thing, Things
from loopwright.simulation.warehouse import layout

_CHINESE_ROBOTS = {
    "arm-1": ("机械臂",), "cart-1": ("小车",), "mover-1": ("移动机器人", "移动机械臂"),
    "duo-1": ("双臂机器人",),
}  # fmt: skip


def things() -> Things:
    """Return everything in the warehouse that has a name."""
    found = [
        Thing(
            name=name,
            kind="station",
            position_m=(*centre_m, 0.0),
            radius_m=layout.STATION_RADIUS_M,
            words={"zh": chinese},
        )
        for name, (centre_m, chinese) in layout.STATIONS.items()
    ]
    found += [
        Thing(
            name=name,
            kind="surface",
            position_m=(*s.centre_m, layout.TABLE_TOP_M),
            size_m=(s.size_m[0], s.size_m[1], 0.10),
            capacity=s.capacity,
            words=s.words,
        )
        for name, s in layout.SURFACES.items()
    ]
    for name, start in layout.ROBOTS.items():
        moves = "base" in layout.PARTS[name]
        found.append(
            Thing(
                name=name,
                kind="robot",
                position_m=None if moves else (start[0], start[1], 0.0),
                deck_m=layout.DECK_M if name == "cart-1" else None,
                size_m=layout.DECK_SIZE_M if name == "cart-1" else (0.0, 0.0, 0.0),
                capacity=2,
                drift_m_per_root_s=0.02 if moves else 0.0,
                parts=layout.PARTS[name],
                words={"en": (name.split("-")[0],), "zh": _CHINESE_ROBOTS[name]},
            )
        )
    for name, (_, chinese, _) in layout.CUBES.items():
        color = name.split("-")[0]
        found.append(
            Thing(
                name=name,
                kind="object",
                size_m=(layout.CUBE_M, layout.CUBE_M, layout.CUBE_M),
                drift_m_per_root_s=0.001,
                properties={"color": color, "shape": "cube"},
                words={"en": (f"{color} cube",), "zh": (chinese, "方块")},
            )
        )
    return Things(found)
