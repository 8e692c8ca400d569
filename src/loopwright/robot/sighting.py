"""Sightings: what a sensor says of the world, with its uncertainty and its moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loopwright.core.errors import InvalidConfig
from loopwright.robot.logic import Condition

WORLD = "world"
_UPRIGHT = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """One thing that one sensor saw, or felt, at one moment."""

    entity: str
    by: str
    """The robot or camera that saw it."""
    time_s: float
    """When, by the wall clock, seconds since 1970."""
    pose: tuple[float, ...] | None = None
    """Position in metres and orientation as a quaternion wxyz, in ``frame``; None if not seen."""
    sigma_m: float = 0.0
    """Standard deviation of the position, the same in every direction."""
    frame: str = WORLD
    """``"world"``, or a thing that does not move or whose own pose is known."""
    relations: tuple[str, ...] = ()
    """What else was perceived, ``"holding(arm-1, red-cube)"`` or ``"not hand-empty(arm-1)"``."""

    def __post_init__(self) -> None:
        """Refuse what is no pose, no moment, or no relation: it comes from plug-ins and wires.

        Raises:
            InvalidConfig: Something is.
        """
        numbers = (*(self.pose or ()), self.sigma_m, self.time_s)
        if not all(map(math.isfinite, numbers)) or len(self.pose or _UPRIGHT) != len(_UPRIGHT):
            raise InvalidConfig(
                f"{self.by} says of {self.entity!r}: pose {self.pose}, sigma {self.sigma_m}, time "
                f"{self.time_s}; expected three metres and a quaternion wxyz, all finite"
            )
        if self.pose and not math.isclose(math.hypot(*self.pose[3:]), 1.0, abs_tol=1e-3):
            raise InvalidConfig(
                f"the quaternion {self.pose[3:]} of {self.entity!r} has not length 1"
            )
        if self.sigma_m < 0:
            raise InvalidConfig(f"sigma of {self.entity!r} is {self.sigma_m}; expected 0 or more")
        self.conditions()

    def conditions(self) -> tuple[Condition, ...]:
        """Return the relations, read."""
        return tuple(Condition.parse(text) for text in self.relations)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sighting:
        """Read what :meth:`to_json` wrote."""
        pose = data["pose"]
        return cls(
            **{
                **data,
                "pose": None if pose is None else tuple(float(x) for x in pose),
                "relations": tuple(data["relations"]),
            }
        )
