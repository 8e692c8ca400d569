"""Picking and placing on surfaces, and driving between stations."""

from __future__ import annotations

from loopwright.robot.cerebellum.behaviour import in_background
from loopwright.robot.skill import Entity, Hands, Motion, Place, SkillSet, skill
from loopwright.simulation.warehouse.motions import go, plan_put, plan_take, put, take

_DRIVES = ("base", "zone:aisle", "stand:?robot", "surface:?robot")
"""One robot in the aisle at a time; and who drives neither works on the way, nor leaves while
somebody takes from it or puts on it."""


@skill(
    requires=(
        "on(?object, ?surface)",
        "at(?surface, ?station)",
        "at(?robot, ?station)",
        "free-hand(?robot)",
    ),
    ensures=("holding(?robot, ?object)", "not on(?object, ?surface)", "not free-hand(?robot)"),
    resources=("arm", "gripper", "stand:?robot", "surface:?surface"),
    longest_s=45.0,
)
def pick(hands: Hands, object: Entity, surface: Place, station: Place) -> Motion:
    """Take an object from a surface."""
    approach = yield from in_background(lambda: plan_take(hands, object))
    yield from take(hands, approach)


@skill(
    requires=(
        "holding(?robot, ?object)",
        "at(?surface, ?station)",
        "at(?robot, ?station)",
        "clear(?surface)",
    ),
    ensures=("on(?object, ?surface)", "not holding(?robot, ?object)", "free-hand(?robot)"),
    resources=("arm", "gripper", "stand:?robot", "surface:?surface"),
    longest_s=45.0,
)
def place(hands: Hands, object: Entity, surface: Place, station: Place) -> Motion:
    """Put down an object that is held."""
    approach = yield from in_background(lambda: plan_put(hands, object, surface))
    yield from put(hands, approach)


@skill(
    requires=("at(?robot, ?start)",),
    ensures=("at(?robot, ?goal)", "not at(?robot, ?start)", "not astray(?robot)"),
    resources=_DRIVES,
    longest_s=60.0,
)
def drive(hands: Hands, start: Place, goal: Place) -> Motion:
    """Drive from one station to another."""
    yield from go(hands, goal)


@skill(
    requires=("astray(?robot)",),
    ensures=("at(?robot, ?goal)", "not astray(?robot)"),
    resources=_DRIVES,
    longest_s=60.0,
)
def rejoin(hands: Hands, goal: Place) -> Motion:
    """Drive to a station from between stations, where a drive was stopped."""
    yield from go(hands, goal)


SKILLS = SkillSet(pick, place, drive, rejoin)
