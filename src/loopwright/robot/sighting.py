"""Sightings: what a sensor says of the world, with its uncertainty and its moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loopwright.robot.logic import Condition


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
    frame: str = "world"
    relations: tuple[str, ...] = ()
    """What else was perceived, ``"holding(arm-1, red-cube)"`` or ``"not hand-empty(arm-1)"``."""

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
