"""Picking and placing on surfaces, and driving between stations."""

from __future__ import annotations

import math

import numpy as np

from loopwright.robot.cerebellum.behaviour import in_background
from loopwright.robot.skill import Entity, GaveUp, Hands, Motion, Place, SkillSet, skill
from loopwright.robot.skills.motion import hold, move

ABOVE_M = np.array([0.0, 0.0, 0.14])
"""How far above an object, or above where it goes, an arm comes and leaves."""
OPEN, CLOSED = -1.0, 1.0
GRASP_S = 0.5
SLOW = 0.3


@skill(
    requires=(
        "on(?object, ?surface)",
        "at(?surface, ?station)",
        "at(?robot, ?station)",
        "free-hand(?robot)",
    ),
    ensures=("holding(?robot, ?object)", "not on(?object, ?surface)", "not free-hand(?robot)"),
    resources=("arm", "gripper", "surface:?surface"),
    longest_s=45.0,
)
def pick(hands: Hands, object: Entity, surface: Place, station: Place) -> Motion:
    """Take an object from a surface."""
    pose = hands.where(object)
    target_m, heading_rad = pose[:3].copy(), _heading(pose)
    arm = hands.driver.nearest_arm(hands.position, target_m)
    columns, keep = hands.driver.columns(arm), hands.driver.grips()
    above, down = yield from in_background(lambda: _approach(hands, arm, [target_m], heading_rad))
    yield from move(hands, columns, above, keep=keep)
    yield from move(hands, columns, down, keep=keep, pace=SLOW)
    keep[hands.driver.grip(arm)] = CLOSED
    yield from hold(hands, GRASP_S, keep)
    yield from move(hands, columns, above, keep=keep, pace=SLOW)


@skill(
    requires=(
        "holding(?robot, ?object)",
        "at(?surface, ?station)",
        "at(?robot, ?station)",
        "clear(?surface)",
    ),
    ensures=("on(?object, ?surface)", "not holding(?robot, ?object)", "free-hand(?robot)"),
    resources=("arm", "gripper", "surface:?surface"),
    longest_s=45.0,
)
def place(hands: Hands, object: Entity, surface: Place, station: Place) -> Motion:
    """Put down an object that is held."""
    held = hands.where(object)
    arm = hands.driver.nearest_tool(hands.position, held[:3])
    columns, keep = hands.driver.columns(arm), hands.driver.grips()
    keep[hands.driver.grip(arm)] = CLOSED
    above, down = yield from in_background(
        lambda: _approach(hands, arm, hands.driver.spots(hands, surface), 0.0)
    )
    yield from move(hands, columns, above, keep=keep)
    yield from move(hands, columns, down, keep=keep, pace=SLOW)
    keep[hands.driver.grip(arm)] = OPEN
    yield from hold(hands, GRASP_S, keep)
    yield from move(hands, columns, above, keep=keep, pace=SLOW)


@skill(
    requires=("at(?robot, ?start)",),
    ensures=("at(?robot, ?goal)", "not at(?robot, ?start)"),
    resources=("base", "zone:aisle"),
    longest_s=60.0,
)
def drive(hands: Hands, start: Place, goal: Place) -> Motion:
    """Drive from one station to another."""
    columns = hands.driver.base
    if not columns:
        raise GaveUp(f"{hands.robot} has no base")
    yield from retract(hands)
    for pose in hands.driver.way(hands.position[columns], goal):
        yield from move(hands, columns, pose, keep=hands.driver.grips(), close=0.01)


def _approach(
    hands: Hands, arm: str, spots: list[np.ndarray], heading_rad: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return joints above and at the first spot that is in reach."""
    why = "there is nowhere to go"
    for spot_m in spots[:6]:
        try:
            above = hands.driver.reach(arm, hands.position, spot_m + ABOVE_M, heading_rad)
            near = _with(hands, arm, above)
            return above, hands.driver.reach(arm, near, spot_m, heading_rad)
        except GaveUp as gave_up:
            why = str(gave_up)
    raise GaveUp(why)


def _with(hands: Hands, arm: str, joints: np.ndarray) -> np.ndarray:
    """Return the measured coordinates with the joints of an arm somewhere else."""
    position = hands.position.copy()
    position[hands.driver.columns(arm)] = joints
    return position


def retract(hands: Hands) -> Motion:
    """Bring the arms of a robot that drives to where they are in nobody's way."""
    for arm in hands.driver.arms:
        yield from move(
            hands,
            hands.driver.columns(arm),
            hands.driver.home(),
            keep=hands.driver.grips(),
            close=0.03,
        )


def _heading(pose: np.ndarray) -> float:
    """Return the heading of a cube, within an eighth of a turn: four sides are alike."""
    w, x, y, z = pose[3:]
    heading_rad = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    quarter = math.pi / 2
    return heading_rad - quarter * round(heading_rad / quarter)


SKILLS = SkillSet(pick, place, drive)
