"""The Meta-World tasks that are scenarios here. Ranges and criteria are those of version 3.1.1.

Listed are the tasks whose published criterion is a distance and whose scripted expert, with noise
and at 40 Hz, succeeds in at least 9 of 10 starts (``benchmarks/experts.py`` counts).
"""

from __future__ import annotations

from loopwright.scenarios.metaworld.task import MetaWorldTask, Placement

_Range = tuple[float, float]


def _point(what: str, x_m: _Range, y_m: _Range, z_m: _Range) -> tuple[Placement, ...]:
    return tuple(
        Placement(name=f"{what}_{axis}_m", low=low, high=high)
        for axis, (low, high) in zip("xyz", (x_m, y_m, z_m), strict=True)
    )


TASKS: tuple[MetaWorldTask, ...] = (
    MetaWorldTask(
        id="button-press-v1",
        simulator="button-press-v3",
        instruction="press the button",
        placements=_point("object", (-0.1, 0.1), (0.85, 0.9), (0.115, 0.115)),
        success_within_m=0.02,
    ),
    MetaWorldTask(
        id="button-press-topdown-v1",
        simulator="button-press-topdown-v3",
        instruction="press the button from above",
        placements=_point("object", (-0.1, 0.1), (0.8, 0.9), (0.115, 0.115)),
        success_within_m=0.024,
    ),
    MetaWorldTask(
        id="button-press-topdown-wall-v1",
        simulator="button-press-topdown-wall-v3",
        instruction="press the button behind the wall from above",
        placements=_point("object", (-0.1, 0.1), (0.8, 0.9), (0.115, 0.115)),
        success_within_m=0.024,
    ),
    MetaWorldTask(
        id="coffee-button-v1",
        simulator="coffee-button-v3",
        instruction="push the button of the coffee machine",
        placements=_point("object", (-0.1, 0.1), (0.8, 0.9), (-0.001, 0.001)),
        success_within_m=0.02,
    ),
    MetaWorldTask(
        id="handle-press-v1",
        simulator="handle-press-v3",
        instruction="press the handle down",
        placements=_point("object", (-0.1, 0.1), (0.8, 0.9), (-0.001, 0.001)),
        success_within_m=0.02,
    ),
    MetaWorldTask(
        id="handle-press-side-v1",
        simulator="handle-press-side-v3",
        instruction="press the handle down from the side",
        placements=_point("object", (-0.35, -0.25), (0.65, 0.75), (-0.001, 0.001)),
        success_within_m=0.02,
    ),
    MetaWorldTask(
        id="handle-pull-v1",
        simulator="handle-pull-v3",
        instruction="pull the handle up",
        placements=_point("object", (-0.1, 0.1), (0.8, 0.9), (-0.001, 0.001)),
        success_within_m=0.05,
    ),
    MetaWorldTask(
        id="door-open-v1",
        simulator="door-open-v3",
        instruction="open the door",
        placements=_point("object", (0.0, 0.1), (0.85, 0.95), (0.15, 0.15)),
        success_within_m=0.08,
        measure="handle_x",
    ),
    MetaWorldTask(
        id="door-close-v1",
        simulator="door-close-v3",
        instruction="close the door",
        placements=_point("object", (0.0, 0.1), (0.85, 0.95), (0.15, 0.15)),
        success_within_m=0.08,
    ),
    MetaWorldTask(
        id="door-lock-v1",
        simulator="door-lock-v3",
        instruction="lock the door",
        placements=_point("object", (-0.1, 0.1), (0.8, 0.85), (0.15, 0.15)),
        success_within_m=0.02,
    ),
    MetaWorldTask(
        id="door-unlock-v1",
        simulator="door-unlock-v3",
        instruction="unlock the door",
        placements=_point("object", (-0.1, 0.1), (0.8, 0.85), (0.15, 0.15)),
        success_within_m=0.02,
    ),
    MetaWorldTask(
        id="window-open-v1",
        simulator="window-open-v3",
        instruction="slide the window open",
        placements=_point("object", (-0.1, 0.1), (0.7, 0.9), (0.16, 0.16)),
        success_within_m=0.05,
    ),
    MetaWorldTask(
        id="window-close-v1",
        simulator="window-close-v3",
        instruction="slide the window shut",
        placements=_point("object", (0.0, 0.0), (0.75, 0.9), (0.2, 0.2)),
        success_within_m=0.05,
    ),
    MetaWorldTask(
        id="drawer-open-v1",
        simulator="drawer-open-v3",
        instruction="pull the drawer open",
        placements=_point("object", (-0.1, 0.1), (0.9, 0.9), (0.0, 0.0)),
        success_within_m=0.03,
    ),
    MetaWorldTask(
        id="drawer-close-v1",
        simulator="drawer-close-v3",
        instruction="push the drawer shut",
        placements=_point("object", (-0.1, 0.1), (0.9, 0.9), (0.0, 0.0)),
        success_within_m=0.065,
    ),
    MetaWorldTask(
        id="faucet-open-v1",
        simulator="faucet-open-v3",
        instruction="turn the faucet on",
        placements=_point("object", (-0.05, 0.05), (0.8, 0.85), (0.0, 0.0)),
        success_within_m=0.07,
    ),
    MetaWorldTask(
        id="faucet-close-v1",
        simulator="faucet-close-v3",
        instruction="turn the faucet off",
        placements=_point("object", (-0.1, 0.1), (0.8, 0.85), (0.0, 0.0)),
        success_within_m=0.07,
    ),
    MetaWorldTask(
        id="dial-turn-v1",
        simulator="dial-turn-v3",
        instruction="turn the dial",
        placements=_point("object", (-0.1, 0.1), (0.7, 0.8), (0.0, 0.0)),
        success_within_m=0.07,
    ),
    MetaWorldTask(
        id="plate-slide-v1",
        simulator="plate-slide-v3",
        instruction="slide the plate into the goal",
        placements=_point("object", (0.0, 0.0), (0.6, 0.6), (0.0, 0.0))
        + _point("goal", (-0.1, 0.1), (0.85, 0.9), (0.0, 0.0)),
        success_within_m=0.07,
    ),
    MetaWorldTask(
        id="plate-slide-side-v1",
        simulator="plate-slide-side-v3",
        instruction="slide the plate sideways into the goal",
        placements=_point("object", (0.0, 0.0), (0.6, 0.6), (0.0, 0.0))
        + _point("goal", (-0.3, -0.25), (0.54, 0.66), (0.0, 0.0)),
        success_within_m=0.07,
    ),
    MetaWorldTask(
        id="plate-slide-back-v1",
        simulator="plate-slide-back-v3",
        instruction="pull the plate back out of the goal",
        placements=_point("object", (0.0, 0.0), (0.85, 0.85), (0.0, 0.0))
        + _point("goal", (-0.1, 0.1), (0.6, 0.6), (0.015, 0.015)),
        success_within_m=0.07,
    ),
    MetaWorldTask(
        id="plate-slide-back-side-v1",
        simulator="plate-slide-back-side-v3",
        instruction="pull the plate out of the goal sideways",
        placements=_point("object", (-0.25, -0.25), (0.6, 0.6), (0.0, 0.0))
        + _point("goal", (-0.05, 0.15), (0.6, 0.6), (0.015, 0.015)),
        success_within_m=0.07,
    ),
    MetaWorldTask(
        id="reach-v1",
        simulator="reach-v3",
        instruction="reach the goal",
        placements=_point("object", (-0.1, 0.1), (0.6, 0.7), (0.02, 0.02))
        + _point("goal", (-0.1, 0.1), (0.8, 0.9), (0.05, 0.3)),
        success_within_m=0.05,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="reach-wall-v1",
        simulator="reach-wall-v3",
        instruction="reach the goal behind the wall",
        placements=_point("object", (-0.05, 0.05), (0.6, 0.65), (0.015, 0.015))
        + _point("goal", (-0.05, 0.05), (0.85, 0.9), (0.05, 0.3)),
        success_within_m=0.05,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="push-v1",
        simulator="push-v3",
        instruction="push the puck to the goal",
        placements=_point("object", (-0.1, 0.1), (0.6, 0.7), (0.02, 0.02))
        + _point("goal", (-0.1, 0.1), (0.8, 0.9), (0.01, 0.02)),
        success_within_m=0.05,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="push-wall-v1",
        simulator="push-wall-v3",
        instruction="push the puck around the wall to the goal",
        placements=_point("object", (-0.05, 0.05), (0.6, 0.65), (0.015, 0.015))
        + _point("goal", (-0.05, 0.05), (0.85, 0.9), (0.01, 0.02)),
        success_within_m=0.07,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="pick-place-v1",
        simulator="pick-place-v3",
        instruction="pick up the puck and carry it to the goal",
        placements=_point("object", (-0.1, 0.1), (0.6, 0.7), (0.02, 0.02))
        + _point("goal", (-0.1, 0.1), (0.8, 0.9), (0.05, 0.3)),
        success_within_m=0.07,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="pick-place-wall-v1",
        simulator="pick-place-wall-v3",
        instruction="carry the puck over the wall to the goal",
        placements=_point("object", (-0.05, 0.05), (0.6, 0.65), (0.015, 0.015))
        + _point("goal", (-0.05, 0.05), (0.85, 0.9), (0.05, 0.3)),
        success_within_m=0.07,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="pick-out-of-hole-v1",
        simulator="pick-out-of-hole-v3",
        instruction="pick the puck out of the hole",
        placements=_point("object", (0.0, 0.0), (0.75, 0.75), (0.02, 0.02))
        + _point("goal", (-0.1, 0.1), (0.5, 0.6), (0.15, 0.3)),
        success_within_m=0.07,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="hand-insert-v1",
        simulator="hand-insert-v3",
        instruction="put the gripper into the hole",
        placements=_point("object", (-0.1, 0.1), (0.6, 0.7), (0.05, 0.05))
        + _point("goal", (-0.04, 0.04), (0.8, 0.88), (-0.0201, -0.0199)),
        success_within_m=0.05,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="coffee-push-v1",
        simulator="coffee-push-v3",
        instruction="push the mug under the coffee machine",
        placements=_point("object", (-0.1, 0.1), (0.55, 0.65), (-0.001, 0.001))
        + _point("goal", (-0.05, 0.05), (0.7, 0.75), (-0.001, 0.001)),
        success_within_m=0.07,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="coffee-pull-v1",
        simulator="coffee-pull-v3",
        instruction="pull the mug away from the coffee machine",
        placements=_point("object", (-0.05, 0.05), (0.7, 0.75), (-0.001, 0.001))
        + _point("goal", (-0.1, 0.1), (0.55, 0.65), (-0.001, 0.001)),
        success_within_m=0.07,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="basketball-v1",
        simulator="basketball-v3",
        instruction="put the ball into the basket",
        placements=_point("object", (-0.1, 0.1), (0.6, 0.7), (0.0299, 0.0301))
        + _point("goal", (-0.1, 0.1), (0.85, 0.9), (0.0, 0.0)),
        success_within_m=0.08,
        apart_m=0.15,
    ),
    MetaWorldTask(
        id="sweep-v1",
        simulator="sweep-v3",
        instruction="sweep the block off the table",
        placements=_point("object", (-0.1, 0.1), (0.6, 0.7), (0.02, 0.02)),
        success_within_m=0.05,
    ),
    MetaWorldTask(
        id="bin-picking-v1",
        simulator="bin-picking-v3",
        instruction="move the block into the other bin",
        placements=_point("object", (-0.21, -0.03), (0.65, 0.75), (0.02, 0.02))
        + _point("goal", (0.1199, 0.1201), (0.699, 0.701), (-0.001, 0.001)),
        success_within_m=0.05,
    ),
)
