"""What a report shows, as plain frozen data.

A :class:`RunReport` holds everything: a page, a terminal table or a figure is a pure function of
it. It survives a trip through JSON, so an old run can be redrawn with newer ink. Its parts live in
:mod:`~loopwright.report.rounds` and :mod:`~loopwright.report.pictures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from loopwright.report.certificate import CertificateReport
from loopwright.report.pictures import DomainMap, FilmPair, Imagination
from loopwright.report.plain import from_plain, to_plain
from loopwright.report.rounds import RoundReport, SuccessRate

Place = Literal["sealed seeds", "gate seeds", "seeds of its own operation"]
"""Which starts a rate was measured on."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LineageNode:
    """A snapshot, candidate or champion, and what it came from."""

    kind: Literal["snapshot", "candidate", "champion"]
    digest: str
    label: str
    round: int
    parents: tuple[str, ...] = ()
    """Digests of what it was made from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedResult:
    """Success on seeds that no decision ever looked at."""

    label: str
    candidate: str
    """Digest of the candidate that was judged."""
    success: SuccessRate
    uses: int = 1
    """How often these seeds have been used, this time included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What the run was allowed to spend; None for no limit."""

    cpu_s: float | None = None
    rounds: int | None = None
    labelled_demos: int | None = None
    alpha: float | None = None
    """Probability of ever promoting a worthless challenger, over all rounds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How good one champion is, and how that is known."""

    digest: str
    round: int
    success: SuccessRate
    measured_on: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """One run of the loop."""

    title: str
    scenario: str
    instruction: str
    recipe: str
    seed: int
    rounds: tuple[RoundReport, ...] = ()
    verdict: str = ""
    """The result in one sentence; composed from the rounds when empty."""
    command: str = ""
    """What to type to repeat the run."""
    machine: Mapping[str, str] = field(default_factory=dict)
    """Hardware and versions (``{"processor": ..., "cores": "2", "torch": "2.13.0"}``)."""
    started_utc: str = ""
    """ISO 8601."""
    finished_utc: str = ""
    """ISO 8601; empty while the run goes on."""
    budget: Budget = field(default_factory=Budget)
    films: tuple[FilmPair, ...] = ()
    imaginations: tuple[Imagination, ...] = ()
    domain_map: DomainMap | None = None
    lineage: tuple[LineageNode, ...] = ()
    sealed: tuple[SealedResult, ...] = ()
    certificate_level: str = ""
    """What a challenger must hold to be promoted; empty if the recipe asks for nothing."""
    waits_for: str = ""
    """What the run waits for from a person; empty if nothing."""
    notes: tuple[str, ...] = ()
    """Anything a reader should know before believing the numbers."""
    schema_version: int = SCHEMA_VERSION

    @property
    def total_cpu_s(self) -> float:
        """CPU-seconds of all rounds."""
        return sum(r.total_cpu_s for r in self.rounds)

    @property
    def champion_certificate(self) -> CertificateReport | None:
        """The certificate of the present champion, if it was promoted with one."""
        champion = next((r.champion_after for r in reversed(self.rounds) if r.installs), None)
        for turn in reversed(self.rounds):
            if turn.certificate is not None and turn.certificate.candidate == champion:
                return turn.certificate
        return None

    @property
    def turns(self) -> tuple[RoundReport, ...]:
        """The rounds proper: what is not a rollback."""
        return tuple(r for r in self.rounds if r.decision != "rollback")

    @property
    def alpha_spent(self) -> float | None:
        """Error probability that is gone for good; None if the run has no budget of it.

        The gates up to the r-th own ``alpha (1 - 1 / (r + 1))`` between them. What the last one had
        is not gone if it ended in a promotion: it goes on to the next gate.
        """
        if self.budget.alpha is None:
            return None
        gates = [(r.decision, r.gate) for r in self.rounds if r.gate]
        spent = self.budget.alpha * (1 - 1 / (len(gates) + 1))
        if gates and gates[-1][0] == "promote":
            spent -= gates[-1][1].alpha
        return max(0.0, round(spent, 12))

    def standings(self) -> tuple[Standing, Standing] | None:
        """Return how the first and the present champion do, measured the same way.

        Sealed seeds come first; then the last gate that each took part in, where both always face
        the same kind of seeds; then operation. A place counts only if both were measured there.
        None when there is no champion, or no such place.
        """
        crowned = [(r.index, r.champion_after) for r in self.rounds if r.installs]
        sealed = {s.candidate: s.success for s in self.sealed}
        return (
            _ends(crowned, sealed, "sealed seeds")
            or _ends(crowned, self._gate_rates(), "gate seeds")
            or _ends(crowned, self._operation_rates(), "seeds of its own operation")
        )

    def _gate_rates(self) -> dict[str, SuccessRate]:
        rates: dict[str, SuccessRate] = {}
        for turn in self.rounds:
            for digest, success in (
                (turn.champion_before, turn.champion_success),
                (turn.challenger, turn.gate and turn.gate.challenger),
            ):
                if digest and success:
                    rates[digest] = success
        return rates

    def _operation_rates(self) -> dict[str, SuccessRate]:
        return {r.challenger: r.success for r in self.rounds if r.challenger and r.success}

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return to_plain(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunReport:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: The data are no report, or one of another version.
        """
        return from_plain(cls, data, version=SCHEMA_VERSION)


def _ends(
    crowned: Sequence[tuple[int, str | None]],
    rates: Mapping[str, SuccessRate],
    place: Place,
) -> tuple[Standing, Standing] | None:
    """Return the first and last of the crowned, if the success of both is known."""
    if not crowned:
        return None
    (first_round, first), (last_round, last) = crowned[0], crowned[-1]
    if first is None or last is None or not {first, last} <= rates.keys():
        return None
    return (
        Standing(digest=first, round=first_round, success=rates[first], measured_on=place),
        Standing(digest=last, round=last_round, success=rates[last], measured_on=place),
    )
