"""With which filter a flight was flown, or a scenario is to be run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from loopwright.core.errors import DamagedData, InvalidConfig, Unidentified, UnknownName
from loopwright.safety.body import Body
from loopwright.safety.ladder import ALL, Rungs, SafetyFilter
from loopwright.safety.limits import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """What the filter of a robot is made from."""

    limits: Limits
    rungs: Rungs = ALL

    def make_filter(self, body: Body) -> SafetyFilter:
        """Return a filter in its first state."""
        return SafetyFilter(body, self.limits, self.rungs)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {"limits": self.limits.to_json(), "rungs": asdict(self.rungs)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Configuration:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no configuration.
        """
        try:
            return cls(limits=Limits.from_json(data["limits"]), rungs=Rungs(**data["rungs"]))
        except (KeyError, TypeError, ValueError, InvalidConfig, UnknownName) as error:
            raise DamagedData(f"this is no configuration of a filter: {error}") from error


def configuration_of(digest: str, limits: Limits, body: Body) -> Configuration:
    """Return the configuration whose filter has a digest: a recording names limits, not rungs.

    Every set of rungs is tried, so a match proves limits, rungs, body and code at once.

    Args:
        digest: Of the filter.
        limits: Of the filter.
        body: Of the robot.

    Raises:
        Unidentified: None has that digest.
    """
    for rungs in _sets_of_rungs():
        configuration = Configuration(limits=limits, rungs=rungs)
        if configuration.make_filter(body).digest == digest:
            return configuration
    raise Unidentified(
        f"no set of rungs with these limits makes the filter {digest[:16]}: it ran on another "
        "version of the ladder or with another body; use that version, or say the configuration"
    )


def _sets_of_rungs() -> Iterator[Rungs]:
    names = [field.name for field in fields(Rungs)]
    for standing in itertools.product((True, False), repeat=len(names)):
        chosen = dict(zip(names, standing, strict=True))
        if chosen["slew"] or not chosen["look_ahead"]:
            yield Rungs(**chosen)
