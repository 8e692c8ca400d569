"""A deployment: one robot at one place that runs one certified identity."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.core.digest import Json, digest_json
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.statement import Statement

KIND = "deployment/v1"

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """What moves where, and what it comes from: all that a directive can match."""

    id: str
    """Lower-case letters, digits, ``._-``; unique at a site: ``"cell-3"``."""
    robot: str
    """Versioned name, as in the robot's ``BodySpec``."""
    scenario: str
    """Versioned id."""
    identity: Mapping[str, str]
    """Name to digest: the subjects of the certificate (``candidate``, ``scenario``, ``robot``,
    ``filter``, ``build``)."""
    ancestors: tuple[str, ...] = ()
    """Digests of every model and data snapshot the candidate descends from, see
    :func:`ancestors_of`."""
    certificate: str = ""
    """Digest of the certificate's statement."""

    def __post_init__(self) -> None:
        """Refuse names that are none, and digests that are none."""
        if not _ID.fullmatch(self.id):
            raise InvalidConfig(
                f"deployment id {self.id!r}; expected lower-case letters, digits, '.', '_', '-'"
            )
        if "candidate" not in self.identity:
            raise InvalidConfig(f"deployment {self.id} names no candidate digest")
        for name, digest in self.identity.items():
            if not _DIGEST.fullmatch(digest):
                raise InvalidConfig(f"deployment {self.id}: {name} is {digest!r}, no SHA-256")

    @property
    def candidate(self) -> str:
        """Digest of the candidate."""
        return self.identity["candidate"]

    @property
    def digest(self) -> str:
        """Digest of everything that is said here."""
        return digest_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "deployment": self.id,
            "robot": self.robot,
            "scenario": self.scenario,
            "identity": dict(sorted(self.identity.items())),
            "ancestors": sorted(self.ancestors),
            "certificate": self.certificate,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Deployment:
        """Read what :meth:`to_json` wrote; further fields are left alone.

        Raises:
            DamagedData: It describes no deployment.
        """
        try:
            return cls(
                id=data["deployment"],
                robot=data["robot"],
                scenario=data["scenario"],
                identity=dict(data["identity"]),
                ancestors=tuple(data["ancestors"]),
                certificate=data["certificate"],
            )
        except (KeyError, TypeError, ValueError, InvalidConfig) as error:
            raise DamagedData(f"this describes no deployment: {error}") from error


def deployed(register: str, deployment: Deployment, start_s: float) -> Statement:
    """Return the statement that a deployment runs from ``start_s`` on; an operator signs it.

    A later statement about the same deployment replaces an earlier one.

    Args:
        register: Id of the register it is for.
        deployment: What runs.
        start_s: From when, seconds since 1970.
    """
    subjects = dict(deployment.identity)
    if deployment.certificate:
        subjects["certificate"] = deployment.certificate
    return Statement(
        kind=KIND,
        subjects=subjects,
        predicate={"register": register, "from_s": start_s, **deployment.to_json()},
    )


def check_form(statement: Statement) -> None:
    """Refuse a statement that describes no deployment."""
    Deployment.from_json(statement.predicate)
    if not isinstance(statement.predicate.get("from_s"), (int, float)):
        raise DamagedData("a deployment/v1 needs the number from_s")


def ancestors_of(
    lineage: Mapping[str, Json], find: Callable[[str], Mapping[str, Json] | None]
) -> tuple[str, ...]:
    """Return every digest that a candidate descends from, however far back.

    Args:
        lineage: ``Candidate.lineage``: any digest in it, at any depth, is an ancestor (a parent
            model, a data snapshot, a corpus).
        find: Returns the lineage of an ancestor's own, or None for one that has none (data) or
            that cannot be found any more.

    Returns:
        Sorted digests.
    """
    found: set[str] = set()
    waiting: list[Json] = [lineage]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, str) and _DIGEST.fullmatch(value) and value not in found:
            found.add(value)
            waiting.append(find(value))
    return tuple(sorted(found))
