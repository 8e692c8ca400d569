"""Who can do a step, and what it keeps others from while it runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from loopwright.robot.journal.fold import IntentState, RobotState
from loopwright.robot.skill import BoundContract, SkillContract, SkillError
from loopwright.robot.task import Step, Value

WHOLE = "whole"
"""The resource of a skill that names no part of its robot: all of them."""


def can_do(robot: RobotState, step: Step) -> bool:
    """Tell whether a robot has what a step asks for; whether it lives is another question."""
    contract = robot.skills.get(step.skill)
    return (
        contract is not None
        and contract.needs <= robot.parts
        and step.robot in (None, robot.name)
        and _takes(contract, step.values)
    )


def resources_of(intent: IntentState) -> frozenset[str]:
    """Return what an open attempt holds."""
    return resources(intent.contract, intent.robot, intent.values)


def resources(contract: SkillContract, robot: str, values: Mapping[str, Value]) -> frozenset[str]:
    """Return what a skill holds; one that names only places of the world takes the whole robot."""
    return held_by(contract.bound(robot, values), robot)


def held_by(bound: BoundContract, robot: str) -> frozenset[str]:
    """Return what a skill holds whose contract is filled in for a robot."""
    named = frozenset(bound.resources)
    own = any(r.startswith(f"{robot}/") for r in named)
    return named if own else named | {f"{robot}/{WHOLE}"}


def clash(wanted: Collection[str], held: Collection[str]) -> bool:
    """Tell whether something wanted is held; the whole of a robot is all of its parts."""
    return any(
        one in held
        or (one.endswith(f"/{WHOLE}") and any(o.startswith(_robot_of(one)) for o in held))
        or ("/" in one and f"{_robot_of(one)}{WHOLE}" in held)
        for one in wanted
    )


def _robot_of(resource: str) -> str:
    """Return the name of a resource's robot with its slash."""
    return resource[: resource.index("/") + 1]


def _takes(contract: SkillContract, values: Mapping[str, Value]) -> bool:
    """Tell whether a skill can be called like this; a graph may come from anybody."""
    try:
        contract.check(values)
    except SkillError:
        return False
    return True
