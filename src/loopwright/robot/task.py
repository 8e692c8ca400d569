"""Tasks: what was asked for, the graph of steps that should bring it about, and how it ended."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from loopwright.core.digest import canonical_json
from loopwright.core.errors import InvalidConfig
from loopwright.robot.logic import Condition, conditions

Outcome = Literal["succeeded", "failed", "unknown"]
"""How an intent or a task ended, by observation. Nobody's word makes it ``succeeded``."""

Value = str | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One node of a task graph: a skill, called for on some robot, after other steps."""

    id: str
    skill: str
    values: Mapping[str, Value] = field(default_factory=dict)
    robot: str | None = None
    """Who does it; None leaves the choice to the scheduler."""
    after: tuple[str, ...] = ()
    deadline_s: float | None = None
    """Seconds after the task was asked for."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "id": self.id,
            "skill": self.skill,
            "values": dict(self.values),
            "robot": self.robot,
            "after": list(self.after),
            "deadline_s": self.deadline_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Step:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**data, "after": tuple(data["after"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskGraph:
    """Steps with their order, and what must hold in the end."""

    steps: tuple[Step, ...]
    goal: tuple[Condition, ...] = ()
    """Decided by observation when the last step is over."""
    reading: str = ""
    """How the instruction was understood, for the person who gave it."""

    def __post_init__(self) -> None:
        """Refuse doubled ids, unknown predecessors, circles, and what no journal could hold.

        Raises:
            InvalidConfig: The graph is none.
        """
        ids = [step.id for step in self.steps]
        if len(set(ids)) != len(ids):
            raise InvalidConfig(f"two steps have one id: {sorted(ids)}")
        for step in self.steps:
            if missing := sorted(set(step.after) - set(ids)):
                raise InvalidConfig(f"step {step.id!r} comes after {missing}, which do not exist")
        try:
            self.order()
        except graphlib.CycleError as error:
            raise InvalidConfig(
                f"steps wait for each other in a circle: {error.args[1]}"
            ) from error
        try:
            canonical_json(self.to_json())
        except (TypeError, ValueError) as error:
            raise InvalidConfig(f"the graph cannot be written down: {error}") from error

    def order(self) -> tuple[str, ...]:
        """Return the ids so that each comes after what it waits for."""
        sorter = graphlib.TopologicalSorter({s.id: s.after for s in self.steps})
        return tuple(sorter.static_order())

    def step(self, identity: str) -> Step:
        """Return the step with that id."""
        return next(s for s in self.steps if s.id == identity)

    def numbered(self, plan: int) -> TaskGraph:
        """Return the graph with steps told apart from those of earlier plans of its task.

        Args:
            plan: Which plan of the task this is, from 1.
        """
        if plan == 1:
            return self
        names = {s.id: f"{s.id}~{plan}" for s in self.steps}
        steps = (
            replace(s, id=names[s.id], after=tuple(names[a] for a in s.after)) for s in self.steps
        )
        return replace(self, steps=tuple(steps))

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "steps": [s.to_json() for s in self.steps],
            "goal": [str(c) for c in self.goal],
            "reading": self.reading,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskGraph:
        """Read what :meth:`to_json` wrote."""
        return cls(
            steps=tuple(Step.from_json(s) for s in data["steps"]),
            goal=conditions(*data["goal"]),
            reading=str(data["reading"]),
        )
