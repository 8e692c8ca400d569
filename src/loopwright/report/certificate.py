"""A certificate as a report shows it: what was claimed, on how many episodes, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CertificateState = Literal["in force", "refused", "expired", "suspended", "not found"]
"""As the register says when the report is made; ``not found``: it is out of reach, or silent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimReport:
    """What a test plan set out to show in one stratum and arm, and what was counted."""

    kind: str
    """``violation`` or ``task-failure``."""
    stratum: str
    arm: str
    """``filter-on`` or ``filter-off``."""
    bound: float | None
    """Failures per episode to stay below; None for one that is only stated."""
    episodes: int
    failed: int
    unknown: int
    upper_bound: float
    """What the episodes exclude from above, however often one looked."""
    confidence: float
    """One minus the error budget of the claim."""
    met: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateReport:
    """What became of the certificate that one round's challenger needed."""

    level: str
    bound: float
    """Violations per episode that the level allows."""
    state: CertificateState
    reason: str
    candidate: str
    plan: str
    """Digest of the test plan, registered before the first episode."""
    attempt: int
    claims: tuple[ClaimReport, ...]
    certificate: str = ""
    """Digest; empty where there is none."""
    proposed_by: str = ""
    approved_by: str = ""
    is_demo: bool = False
    """One process held both keys."""
    issued_utc: str = ""
    expires_utc: str = ""
    identity: Mapping[str, str] = field(default_factory=dict)
    """What it is about, by digest."""

    @property
    def episodes(self) -> int:
        """Episodes that were run, over all strata and arms."""
        cells = {(claim.stratum, claim.arm): claim.episodes for claim in self.claims}
        return sum(cells.values())
