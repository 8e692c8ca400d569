"""Which deployments a directive is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.directive.deployment import Deployment


@dataclass(frozen=True, kw_only=True, slots=True)
class Clause:
    """A deployment fits if, for every field that is filled, one of the values is its own."""

    candidate: tuple[str, ...] = ()
    """Digests of candidates."""
    lineage: tuple[str, ...] = ()
    """Digests of models or data; fits the candidate itself and all that descends from it."""
    robot: tuple[str, ...] = ()
    """Names, or digests of robots."""
    scenario: tuple[str, ...] = ()
    """Ids, or digests of scenarios."""
    filter: tuple[str, ...] = ()
    """Digests of filter configurations."""
    build: tuple[str, ...] = ()
    """Digests of simulator or firmware builds."""
    certificate: tuple[str, ...] = ()
    """Digests of certificates."""
    deployment: tuple[str, ...] = ()
    """Ids of single deployments."""

    def __post_init__(self) -> None:
        """Refuse a clause that would fit everything by saying nothing."""
        if not any(getattr(self, name) for name in _CONDITIONS):
            raise InvalidConfig(
                "a clause without any condition would match every deployment; name at least one "
                "candidate, lineage, robot, scenario, filter, build, certificate or deployment"
            )

    def fits(self, deployment: Deployment) -> bool:
        """Tell whether a deployment fits."""
        own = _tokens(deployment)
        return all(
            not own[name].isdisjoint(wanted)
            for name in _CONDITIONS
            if (wanted := getattr(self, name))
        )


_CONDITIONS = tuple(item.name for item in fields(Clause))


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A deployment is affected if it fits any of the clauses."""

    any_of: tuple[Clause, ...]

    def __post_init__(self) -> None:
        """Refuse a match without clauses, which nothing would ever fit."""
        if not self.any_of:
            raise InvalidConfig("a match without clauses affects nothing; give at least one")

    def affects(self, deployment: Deployment) -> bool:
        """Tell whether a deployment is affected."""
        return any(clause.fits(deployment) for clause in self.any_of)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "any_of": [
                {name: list(values) for name, values in asdict(clause).items() if values}
                for clause in self.any_of
            ]
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Match:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no match, or has a condition this version does not know: what is
                not understood must not be passed over.
        """
        try:
            if set(data) != {"any_of"}:
                raise ValueError(f"fields {sorted(data)}")
            return cls(any_of=tuple(_clause(clause) for clause in data["any_of"]))
        except (TypeError, ValueError, AttributeError, InvalidConfig) as error:
            raise DamagedData(f"this is no match of a directive: {error}") from error


def _clause(data: Mapping[str, Any]) -> Clause:
    for name, values in data.items():
        if not isinstance(values, (list, tuple)) or not all(isinstance(v, str) for v in values):
            raise ValueError(f"condition {name!r} is {values!r}, no list of texts")
    return Clause(**{name: tuple(values) for name, values in data.items()})


def _tokens(deployment: Deployment) -> dict[str, set[str]]:
    """Return, by condition, every value that stands for the deployment."""
    identity = deployment.identity
    return {
        "candidate": {deployment.candidate},
        "lineage": {deployment.candidate, *deployment.ancestors},
        "robot": {deployment.robot, identity.get("robot", "")},
        "scenario": {deployment.scenario, identity.get("scenario", "")},
        "filter": {identity.get("filter", "")},
        "build": {identity.get("build", "")},
        "certificate": {deployment.certificate},
        "deployment": {deployment.id},
    }
