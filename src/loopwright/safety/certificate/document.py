"""The certificate itself: what two people sign, and what a deployment carries with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.core.scenario import Box
from loopwright.safety.certificate.claims import Claim, bound_of, level_reached
from loopwright.safety.certificate.identity import Identity
from loopwright.safety.certificate.plan import MAX_ALPHA
from loopwright.safety.statement import Statement

CERTIFICATE = "certificate/v1"
MAX_VALID_DAYS = 365
CATEGORIES: Mapping[str, int] = {"B": 3, "C": 10, "D": 120}
"""Calendar days, without the day of discovery, for which a function may be off. The numbers are
those of the repair categories of minimum equipment lists in civil aviation."""
_S_PER_DAY = 86_400


@dataclass(frozen=True, kw_only=True, slots=True)
class Degraded:
    """What may be out of order together, for how long, and under which other filter settings."""

    absent: tuple[str, ...]
    """Names of sensors or functions, sorted: exactly these."""
    category: str
    """B, C or D (:data:`CATEGORIES`)."""
    filter: str
    """Digest of the filter, with tighter limits, that must be in its place."""
    condition: str
    """What people have to see to."""

    def __post_init__(self) -> None:
        """Refuse an entry for nothing, and unknown categories."""
        if not self.absent or list(self.absent) != sorted(set(self.absent)):
            raise InvalidConfig(f"absent {self.absent}; expected names, sorted, each once")
        if self.category not in CATEGORIES:
            raise UnknownName("category", self.category, CATEGORIES)

    def may_run_at(self, discovered: date, now_s: float) -> bool:
        """Tell whether it is not too late, and not before the discovery; days are UTC."""
        last = discovered + timedelta(days=CATEGORIES[self.category])
        return discovered <= datetime.fromtimestamp(now_s, UTC).date() <= last

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Degraded:
        """Read plain data."""
        return cls(**{**data, "absent": tuple(map(str, data["absent"]))})


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """What was shown of one combination of candidate, scenario, robot, filter and build."""

    identity: Identity
    scenario: str
    """Id, for people; the digest in ``identity`` is what counts."""
    level: str
    """Reached with the filter on, in every stratum."""
    domain: Mapping[str, Box]
    """Name to part of the operating domain: the certificate holds in these, and nowhere else."""
    claims: tuple[Claim, ...]
    alpha: float
    """Error budget of all plans for this candidate, scenario and robot together."""
    attempt: int
    """Which plan for them it was, from 1: those before it did not lead to this certificate."""
    plan: str
    """Digest of the test plan, registered before the first episode."""
    logged: str
    """Digest of everything that was logged of it."""
    issued_s: float
    """Seconds since 1970."""
    expires_s: float
    degraded: tuple[Degraded, ...] = ()

    def __post_init__(self) -> None:
        """Refuse impossible levels, budgets and validities, and what claims nothing."""
        bound_of(self.level)
        if not (self.claims and self.domain):
            raise InvalidConfig("a certificate without claims or without a domain says nothing")
        if not 0 < self.alpha <= MAX_ALPHA or self.attempt < 1:
            raise InvalidConfig(
                f"error budget {self.alpha} at attempt {self.attempt}; "
                f"expected above 0 and at most {MAX_ALPHA}, and an attempt from 1"
            )
        if not 0 < self.expires_s - self.issued_s <= MAX_VALID_DAYS * _S_PER_DAY:
            raise InvalidConfig(
                f"valid from {self.issued_s} to {self.expires_s}; "
                f"expected more than nothing and at most {MAX_VALID_DAYS} days"
            )
        if len({item.absent for item in self.degraded}) != len(self.degraded):
            raise InvalidConfig("the degraded list has two entries for the same functions")

    @property
    def level_without_filter(self) -> str | None:
        """The strictest level shown with the filter off in every stratum, or None."""
        bounds = [c.bound for c in self.claims if (c.kind, c.arm) == ("violation", "filter-off")]
        if not bounds or None in bounds:
            return None
        return level_reached(max(bound for bound in bounds if bound is not None))

    def covers(self, start: Mapping[str, float]) -> bool:
        """Tell whether a start lies in the operating domain; what does not name it all does not."""
        return any(
            set(box.low) <= set(start) and box.contains(start) for box in self.domain.values()
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the statement."""
        return self.statement().digest

    def statement(self) -> Statement:
        """Return what is signed."""
        subjects = {**self.identity.subjects, "plan": self.plan, "logged": self.logged}
        return Statement(kind=CERTIFICATE, subjects=subjects, predicate=self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "identity": self.identity.to_json(),
            "scenario": self.scenario,
            "level": self.level,
            "domain": {name: box.to_json() for name, box in self.domain.items()},
            "claims": [claim.to_json() for claim in self.claims],
            "alpha": self.alpha,
            "attempt": self.attempt,
            "plan": self.plan,
            "logged": self.logged,
            "issued_s": self.issued_s,
            "expires_s": self.expires_s,
            "degraded": [{**asdict(item), "absent": list(item.absent)} for item in self.degraded],
        }

    @classmethod
    def from_statement(cls, statement: Statement) -> Certificate:
        """Read a statement.

        Raises:
            DamagedData: It is no certificate, or its subjects are not what it speaks of.
        """
        if statement.kind != CERTIFICATE:
            raise DamagedData(f"this is a {statement.kind}, no {CERTIFICATE}")
        certificate = cls.from_json(statement.predicate)
        if certificate.statement().to_json() != statement.to_json():
            raise DamagedData("the subjects of this certificate are not what it speaks of")
        return certificate

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Certificate:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no certificate.
        """
        try:
            parts = {
                "identity": Identity.from_json(data["identity"]),
                "domain": {str(name): Box(**box) for name, box in data["domain"].items()},
                "claims": tuple(Claim.from_json(claim) for claim in data["claims"]),
                "degraded": tuple(Degraded.from_json(item) for item in data["degraded"]),
            }
            return cls(**{**data, **parts})
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            InvalidConfig,
            UnknownName,
        ) as error:
            raise DamagedData(f"this is no certificate: {error}") from error
