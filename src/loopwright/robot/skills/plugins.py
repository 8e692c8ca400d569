"""Skills of other packages, found by their entry points.

A package that brings skills names a function in its ``pyproject.toml``::

    [project.entry-points."loopwright.skills"]
    polishing = "my_package.skills:polishing"

The function is given a robot's name and its parts and returns the skills that such a robot has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata
from typing import cast

from loopwright.core.errors import InvalidConfig
from loopwright.robot.skill import Skill, SkillSet

ENTRY_POINT_GROUP = "loopwright.skills"
GiveSkills = Callable[[str, frozenset[str]], Iterable[Skill]]


def with_plugins(own: SkillSet, robot: str, parts: frozenset[str]) -> SkillSet:
    """Return a robot's skills and those that installed packages give it.

    Args:
        own: Skills it has anyway.
        robot: Its name.
        parts: What it has (``"arm"``, ``"gripper"``, ``"base"``).

    Raises:
        InvalidConfig: A package cannot be loaded, gives something else, or a name is taken.
    """
    found = list(own)
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        found += _given(point, robot, parts)
    return SkillSet(*found)


def _given(point: metadata.EntryPoint, robot: str, parts: frozenset[str]) -> list[Skill]:
    try:
        given = list(cast(GiveSkills, point.load())(robot, parts))
    except Exception as error:  # the code of others; whatever it raises, the reason is said
        raise InvalidConfig(
            f"the skills {point.name!r} ({point.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}; uninstall the package or mend it"
        ) from error
    if strange := [g for g in given if not isinstance(g, Skill)]:
        raise InvalidConfig(f"the skills {point.name!r} ({point.value}) gave {strange[0]!r}")
    return [s for s in given if s.contract.needs <= parts]
