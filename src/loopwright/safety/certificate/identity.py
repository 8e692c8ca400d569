"""What a certificate is about: five digests, and nothing that is called the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from loopwright.core.digest import digest_json
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.core.scenario import Scenario
from loopwright.safety.body import BodySpec, RobotEntry

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The combination that was tested, each part by its SHA-256."""

    candidate: str
    """Every file of the candidate folder (:mod:`loopwright.safety.certificate.tree`)."""
    scenario: str
    """Scenario with operating domain and verifier (:func:`scenario_digest`)."""
    robot: str
    """Body and how a process comes by it (:func:`robot_digest`)."""
    filter: str
    """``SafetyFilter.digest``: limits, rungs and code version."""
    build: str
    """Simulator and interpreter that the evidence comes from."""

    def __post_init__(self) -> None:
        """Refuse what is no digest."""
        for name, digest in self.subjects.items():
            if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise InvalidConfig(
                    f"{name} of an identity is {digest!r}; expected a SHA-256, 64 hexadecimal "
                    "digits in lower case"
                )

    @property
    def subjects(self) -> dict[str, str]:
        """Name to digest, as statements list what they are about."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def differences(self, other: Identity) -> tuple[str, ...]:
        """Return the names of the parts that are not the same."""
        theirs = other.subjects
        return tuple(name for name, digest in self.subjects.items() if theirs[name] != digest)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return self.subjects

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Identity:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no identity.
        """
        try:
            return cls(**data)
        except (TypeError, InvalidConfig) as error:
            raise DamagedData(f"this is no identity: {error}") from error


def scenario_digest(scenario: Scenario) -> str:
    """Return the digest of everything that a scenario says about itself."""
    return digest_json(
        {
            "id": scenario.id,
            "instruction": scenario.instruction,
            "interface": scenario.interface.to_json(),
            "domain": scenario.domain.to_json(),
            "evidence": scenario.evidence,
            "verifier": scenario.verifier.name,
            "max_steps": scenario.max_steps,
        }
    )


def robot_digest(spec: BodySpec, entry: RobotEntry) -> str:
    """Return the digest of a robot: what it says it is, and how it is made."""
    return digest_json({"spec": asdict(spec), "entry": asdict(entry)})
