"""One turn of the loop as data: what was tried, what the gate saw, what it cost.

Rates carry the interval they were published with; nothing here recomputes a statistic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from loopwright.core.errors import InvalidConfig
from loopwright.report.certificate import CertificateReport

Decision = Literal["genesis", "promote", "refuse", "blocked", "rollback", "open"]
"""How a round ended: the first champion was installed; the challenger replaced the champion; it did
not; too many trials were missing to say; an older champion came back; not decided yet."""

DECISIONS: tuple[Decision, ...] = get_args(Decision)


@dataclass(frozen=True, kw_only=True, slots=True)
class SuccessRate:
    """Successes among verified trials, with an interval.

    It is exact where the number of trials was fixed, and valid at any time where a gate stopped.
    """

    successes: int
    trials: int
    low: float
    high: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Refuse counts and intervals that cannot be."""
        if not 0 <= self.successes <= self.trials or self.trials < 1:
            raise InvalidConfig(
                f"{self.successes} successes in {self.trials} trials: "
                "need 0 <= successes <= trials and at least one trial"
            )
        if not 0.0 <= self.low <= self.rate <= self.high <= 1.0:
            raise InvalidConfig(
                f"interval [{self.low}, {self.high}] around {self.rate}: need low <= rate <= high"
            )

    @property
    def rate(self) -> float:
        """The share of successes, 0 to 1."""
        return self.successes / self.trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One condition besides the evidence that a promotion had to meet."""

    name: str
    held: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReport:
    """A sequential, paired comparison of challenger and champion."""

    wins: int
    """Pairs that only the challenger solved."""
    losses: int
    """Pairs that only the champion solved."""
    ties: int
    missing: int = 0
    """Trials without a verdict; they count as neither."""
    evidence: tuple[float, ...] = ()
    """E-value after each pair; it starts at 1 before the first."""
    threshold: float
    """E-value at which the challenger is promoted (one over the alpha of the round)."""
    alpha: float
    """Error probability that this round may spend."""
    max_pairs: int | None = None
    """Pairs after which the gate gives up; None if there is no such limit."""
    used_before: int | None = None
    """Starts that the workspace had used for something else before; None if that is not known."""
    champion: SuccessRate | None = None
    challenger: SuccessRate | None = None
    checks: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        """Refuse negative counts and a threshold that proves nothing."""
        counts = (self.wins, self.losses, self.ties, self.missing)
        if min(counts) < 0:
            raise InvalidConfig(
                f"gate counts (wins, losses, ties, missing) are {counts}; need >= 0"
            )
        if not self.threshold > 1.0 or not 0.0 < self.alpha < 1.0:
            raise InvalidConfig(
                f"gate threshold {self.threshold}, alpha {self.alpha}: "
                "need a threshold above 1 and an alpha between 0 and 1"
            )

    @property
    def pairs(self) -> int:
        """Pairs that both sides finished."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A quantity over training steps."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse steps and values of different lengths."""
        if len(self.steps) != len(self.values):
            raise InvalidConfig(
                f"curve {self.name!r} has {len(self.steps)} steps but {len(self.values)} values"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedRange:
    """Seeds ``first`` to ``first + count - 1`` of a split, and what they were used for."""

    split: str
    first: int
    count: int
    purpose: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundReport:
    """One turn of the loop, from data to decision."""

    index: int
    label: str
    """What this round tried, in a few words (``"clone 5 demonstrations"``)."""
    decision: Decision
    reason: str = ""
    """Why, in one sentence."""
    challenger: str | None = None
    """Digest of the candidate that was tried."""
    champion_before: str | None = None
    champion_after: str | None = None
    planted: bool = False
    """The recipe made this challenger worthless on purpose, to show the gate at work."""
    added: Mapping[str, int] = field(default_factory=dict)
    """Episodes that this round added, by source kind."""
    labelled_demos: int = 0
    """Demonstrations with actions spent so far, this round included."""
    gate: GateReport | None = None
    success: SuccessRate | None = None
    """Success of the challenger in operation, where no gate measured it (the genesis round)."""
    curves: tuple[Curve, ...] = ()
    cost_cpu_s: Mapping[str, float] = field(default_factory=dict)
    """CPU-seconds by stage."""
    seeds: tuple[SeedRange, ...] = ()
    certificate: CertificateReport | None = None
    """What became of the certificate, if the gate said yes and the recipe asks for one."""

    def __post_init__(self) -> None:
        """Refuse an unknown decision."""
        if self.decision not in DECISIONS:
            raise InvalidConfig(
                f"round {self.index} has the decision {self.decision!r}; "
                f"expected one of {', '.join(DECISIONS)}"
            )

    @property
    def challenger_success(self) -> SuccessRate | None:
        """What the challenger reached, at the gate or alone."""
        return self.gate.challenger if self.gate and self.gate.challenger else self.success

    @property
    def champion_success(self) -> SuccessRate | None:
        """What the champion reached on the same seeds."""
        return self.gate.champion if self.gate else None

    @property
    def installs(self) -> bool:
        """Whether another champion stands after this round than before."""
        return self.decision in ("genesis", "promote", "rollback")

    @property
    def total_cpu_s(self) -> float:
        """CPU-seconds of all stages."""
        return sum(self.cost_cpu_s.values())
