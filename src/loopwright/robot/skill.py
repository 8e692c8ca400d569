"""Skills: what a robot can do, and how everybody else can tell whether it was done.

A skill states before it runs what must hold (``requires``), what will hold (``ensures``), which
resources it holds and how long it may take. Its body only moves; it never says how it went. When
it is over, the world is observed and ``ensures`` decided. A body is a generator: each ``yield``
gives the command of one control step, so whoever runs it can stop between any two steps.

::

    @skill(
        requires=("hand-empty(?robot)", "reachable(?robot, ?object)"),
        ensures=("holding(?robot, ?object)",),
        resources=("arm", "gripper"),
        longest_s=20.0,
    )
    def pick(hands: Hands, object: Entity) -> Motion:
        '''Take an object.'''
        yield from approach(hands, object)
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from loopwright.core.errors import ContractError, InvalidConfig, UnknownName
from loopwright.core.motion import GaveUp as GaveUp
from loopwright.core.motion import Hands as Hands
from loopwright.core.motion import Motion
from loopwright.robot.logic import Condition, conditions

ParameterKind = Literal["object", "place", "robot", "number", "text"]

Entity = typing.NewType("Entity", str)
"""Annotates a parameter that names an object of the world memory."""
Place = typing.NewType("Place", str)
"""Annotates a parameter that names a place, a surface or a container."""
Robot = typing.NewType("Robot", str)
"""Annotates a parameter that names another robot."""

_KINDS: dict[Any, ParameterKind] = {
    Entity: "object",
    Place: "place",
    Robot: "robot",
    float: "number",
    int: "number",
    str: "text",
}


class SkillError(ContractError):
    """A skill broke its contract, or cannot be called like this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a skill."""

    name: str
    kind: ParameterKind


@dataclass(frozen=True, kw_only=True, slots=True)
class SkillContract:
    """What a skill promises; all that planner, scheduler and judge know of it."""

    name: str
    version: int = 1
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    requires: tuple[Condition, ...] = ()
    ensures: tuple[Condition, ...] = ()
    """Decided by observation afterwards. A skill without any can at best end ``unknown``."""
    resources: tuple[str, ...] = ()
    """What it holds while it runs: a part of the robot (``"arm"``), or something of the world,
    one (``"zone:aisle"``) or that of a parameter (``"surface:?surface"``)."""
    longest_s: float = 30.0
    expected_s: float | None = None
    """How long it takes as a rule, as far as its author knows; what was measured outranks it."""
    repeatable: bool = True
    """Whether it may be tried again when ``requires`` hold and ``ensures`` do not."""
    recovery: tuple[str, ...] = ()
    """Skills of the same robot that are worth trying when it failed, in this order until one
    succeeds; they take the values that have the names of their parameters. Then it may be tried
    again, if it is repeatable; else another plan is made."""

    def __post_init__(self) -> None:
        """Refuse conditions over parameters that do not exist, and a skill without end."""
        known = {"robot", *(p.name for p in self.parameters)}
        for condition in (*self.requires, *self.ensures):
            if unknown := sorted(condition.fact.free - known):
                raise InvalidConfig(
                    f"skill {self.name!r}: {condition} names {unknown}, "
                    f"which are no parameters; it has {sorted(known)}"
                )
        if not self.longest_s > 0:
            raise InvalidConfig(f"skill {self.name!r}: longest_s is {self.longest_s}")
        if self.expected_s is not None and not 0 < self.expected_s <= self.longest_s:
            raise InvalidConfig(
                f"skill {self.name!r}: expected_s is {self.expected_s}, "
                f"which is not between 0 and longest_s, {self.longest_s}"
            )

    @property
    def needs(self) -> frozenset[str]:
        """Parts a robot must have: the resources that are not places of the world."""
        return frozenset(r for r in self.resources if ":" not in r)

    def check(self, values: Mapping[str, Any]) -> None:
        """Refuse a call with missing, unknown or unfit values.

        Raises:
            SkillError: A value is missing, unknown, or of the wrong kind.
        """
        names = {p.name for p in self.parameters}
        if set(values) != names:
            raise SkillError(f"{self.name} takes {sorted(names)}, it was given {sorted(values)}")
        for parameter in self.parameters:
            value = values[parameter.name]
            fits = (
                isinstance(value, (int, float)) and not isinstance(value, bool)
                if parameter.kind == "number"
                else isinstance(value, str)
            )
            if not fits:
                raise SkillError(f"{self.name}: {parameter.name}={value!r} is no {parameter.kind}")

    def bound(self, robot: str, values: Mapping[str, Any]) -> BoundContract:
        """Return the contract for one robot and one set of values."""
        self.check(values)
        names = {**{k: str(v) for k, v in values.items()}, "robot": robot}
        return BoundContract(
            requires=tuple(c.bind(names) for c in self.requires),
            ensures=tuple(c.bind(names) for c in self.ensures),
            resources=tuple(_resource(r, robot, names) for r in self.resources),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "name": self.name,
            "version": self.version,
            "summary": self.summary,
            "parameters": [{"name": p.name, "kind": p.kind} for p in self.parameters],
            "requires": [str(c) for c in self.requires],
            "ensures": [str(c) for c in self.ensures],
            "resources": list(self.resources),
            "longest_s": self.longest_s,
            "expected_s": self.expected_s,
            "repeatable": self.repeatable,
            "recovery": list(self.recovery),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SkillContract:
        """Read what :meth:`to_json` wrote."""
        expected_s = data.get("expected_s")  # contracts of earlier versions have none
        return cls(
            name=data["name"],
            version=int(data["version"]),
            summary=data["summary"],
            parameters=tuple(Parameter(**p) for p in data["parameters"]),
            requires=conditions(*data["requires"]),
            ensures=conditions(*data["ensures"]),
            resources=tuple(data["resources"]),
            longest_s=float(data["longest_s"]),
            expected_s=None if expected_s is None else float(expected_s),
            repeatable=bool(data["repeatable"]),
            recovery=tuple(data["recovery"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundContract:
    """A contract with everything filled in."""

    requires: tuple[Condition, ...]
    ensures: tuple[Condition, ...]
    resources: tuple[str, ...]
    """Names of resources, those of the robot with its name: ``"arm-1/gripper"``."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A contract with the body that moves."""

    contract: SkillContract
    body: Callable[..., Motion]


def skill(  # noqa: PLR0913 - one keyword for each promise
    *,
    requires: tuple[str, ...] = (),
    ensures: tuple[str, ...] = (),
    resources: tuple[str, ...] = (),
    longest_s: float = 30.0,
    expected_s: float | None = None,
    repeatable: bool = True,
    recovery: tuple[str, ...] = (),
    version: int = 1,
) -> Callable[[Callable[..., Motion]], Skill]:
    """Make a skill of a generator function ``body(hands, ...)``; parameters by annotation.

    Raises:
        InvalidConfig: The function is no generator, or a parameter has no known annotation.
    """

    def decorate(body: Callable[..., Motion]) -> Skill:
        if not inspect.isgeneratorfunction(body):
            raise InvalidConfig(f"{body.__name__} never yields; the body of a skill is a generator")
        title = body.__name__.replace("_", "-")
        return Skill(
            contract=SkillContract(
                name=title,
                version=version,
                summary=(inspect.getdoc(body) or "").split("\n")[0],
                parameters=_parameters(body, title),
                requires=conditions(*requires),
                ensures=conditions(*ensures),
                resources=resources,
                longest_s=longest_s,
                expected_s=expected_s,
                repeatable=repeatable,
                recovery=recovery,
            ),
            body=body,
        )

    return decorate


class SkillSet:
    """Skills by name."""

    def __init__(self, *skills: Skill) -> None:
        """Collect skills.

        Raises:
            InvalidConfig: Two have one name.
        """
        self._skills = {s.contract.name: s for s in skills}
        if len(self._skills) != len(skills):
            raise InvalidConfig("two skills have one name")

    def __iter__(self) -> Any:
        """Yield the skills."""
        return iter(self._skills.values())

    def __getitem__(self, name: str) -> Skill:
        """Return the skill of that name.

        Raises:
            UnknownName: There is none.
        """
        if name not in self._skills:
            raise UnknownName("skill", name, self._skills)
        return self._skills[name]

    @property
    def contracts(self) -> tuple[SkillContract, ...]:
        """What they promise."""
        return tuple(s.contract for s in self._skills.values())


def _parameters(body: Callable[..., Motion], title: str) -> tuple[Parameter, ...]:
    hints = typing.get_type_hints(body)
    found = []
    for parameter in list(inspect.signature(body).parameters)[1:]:
        kind = _KINDS.get(hints.get(parameter))
        if kind is None:
            raise InvalidConfig(
                f"skill {title!r}: annotate {parameter!r} as Entity, Place, Robot, float or str"
            )
        found.append(Parameter(name=parameter, kind=kind))
    return tuple(found)


def _resource(name: str, robot: str, values: Mapping[str, str]) -> str:
    """Return a part of the robot with its name; what has a colon is of the world, for all."""
    head, mark, parameter = name.partition(":?")
    if mark:
        return f"{head}:{values[parameter]}"
    return name if ":" in name else f"{robot}/{name}"
