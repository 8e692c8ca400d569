"""The Meta-World tasks that are scenarios here. Ranges and criteria are those of version 3.1.1."""

from __future__ import annotations

from loopwright.scenarios.metaworld.task import MetaWorldTask, Placement


def _object(
    x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]
) -> tuple[Placement, ...]:
    return _point("object", x, y, z)


def _point(
    what: str, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]
) -> tuple[Placement, ...]:
    return tuple(
        Placement(name=f"{what}_{axis}_m", low=low, high=high)
        for axis, (low, high) in zip("xyz", (x, y, z), strict=True)
    )


TASKS: tuple[MetaWorldTask, ...] = (
    MetaWorldTask(
        id="button-press-v1",
        simulator="button-press-v3",
        instruction="press the button",
        placements=_object((-0.1, 0.1), (0.85, 0.9), (0.115, 0.115)),
        success_within_m=0.02,
    ),
)
