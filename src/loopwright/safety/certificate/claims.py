"""Claims: "of this kind of failure there is less than one in so many episodes, here".

The unit of evidence is the **episode**, not the control step: steps of one episode fail together.
A claim is tested by the e-process of :func:`~loopwright.core.sequential.log_e_rare`, which may be
looked at after each episode and stopped for any reason.

An episode whose outcome is unknown counts as failed: what made it unknown may be what it would
have shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.core.sequential import log_e_rare
from loopwright.core.statistics import check_counts, last_true

Level = Literal["D", "C", "B"]
LEVELS: Mapping[str, float] = {"D": 0.05, "C": 0.01, "B": 0.001}
"""The largest share of episodes with a violation, per level, from the mildest to the strictest."""

ClaimKind = Literal["violation", "task-failure"]
"""``violation``: a limit was exceeded or the brake latched in the episode. ``task-failure``: the
verifier did not call it a success, which is performance and not safety."""
Arm = Literal["filter-on", "filter-off"]
KINDS: tuple[ClaimKind, ...] = get_args(ClaimKind)
ARMS: tuple[Arm, ...] = get_args(Arm)


def bound_of(level: str) -> float:
    """Return the failure rate per episode that a level allows.

    Raises:
        InvalidConfig: It is level A.
        UnknownName: There is no such level.
    """
    if level == "A":
        raise InvalidConfig(
            "level A is not available from simulation: no number of simulated episodes shows what "
            "the simulator leaves out; ask for B, C or D"
        )
    if level not in LEVELS:
        raise UnknownName("level", level, LEVELS)
    return LEVELS[level]


def level_reached(bound: float | None) -> str | None:
    """Return the strictest level that a bound is enough for, or None."""
    return next((name for name in "BCD" if bound is not None and bound <= LEVELS[name]), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """What a plan sets out to show in each of its strata."""

    kind: ClaimKind
    arm: Arm
    bound: float | None
    """The failure rate per episode to stay below; None: measured and stated, but not tested."""
    episodes: int = 1
    """How many episodes to run at least."""

    def __post_init__(self) -> None:
        """Refuse unknown kinds and arms, and what is no rate."""
        if self.kind not in KINDS:
            raise UnknownName("kind of claim", self.kind, KINDS)
        if self.arm not in ARMS:
            raise UnknownName("arm", self.arm, ARMS)
        if self.bound is not None and not 0 < self.bound < 1:
            raise InvalidConfig(f"bound {self.bound}; expected above 0 and below 1, or None")
        if self.episodes < 1:
            raise InvalidConfig(f"at least {self.episodes} episodes; expected 1 or more")


def level_aims(level: Level, *, task_failure: float | None = None) -> tuple[Aim, ...]:
    """Return the aims of a level: the same bound with the filter on and off.

    Args:
        level: D, C or B.
        task_failure: Also show that the task fails less often than this, with the filter on.
    """
    bound = bound_of(level)
    aims = tuple(Aim(kind="violation", arm=arm, bound=bound) for arm in ARMS)
    if task_failure is None:
        return aims
    return (*aims, Aim(kind="task-failure", arm="filter-on", bound=task_failure))


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """An aim in one stratum, with what has been counted so far."""

    kind: ClaimKind
    stratum: str
    arm: Arm
    bound: float | None
    least_episodes: int
    alpha: float
    """Error budget of this claim: the chance that it is stated although it is wrong."""
    episodes: int
    failed: int
    unknown: int

    def __post_init__(self) -> None:
        """Refuse counts that no campaign has."""
        if not 0 < self.alpha < 1:
            raise InvalidConfig(f"alpha {self.alpha}; expected above 0 and below 1")
        if self.failed < 0 or self.unknown < 0:
            raise InvalidConfig(f"{self.failed} failed, {self.unknown} unknown; expected 0 or more")
        check_counts(self.against, self.episodes)
        Aim(kind=self.kind, arm=self.arm, bound=self.bound, episodes=self.least_episodes)

    @property
    def against(self) -> int:
        """Episodes that speak against the claim: failed, or not known to have passed."""
        return self.failed + self.unknown

    @property
    def passed(self) -> int:
        """Episodes that are known not to have failed."""
        return self.episodes - self.against

    @property
    def log_threshold(self) -> float:
        """Natural log of the e-value that is enough."""
        return -math.log(self.alpha)

    def log_evidence(self, further_passed: int = 0) -> float:
        """Return the natural log of the e-value, after so many more episodes without failure.

        0, which is no evidence, for a claim that is not tested.
        """
        if self.bound is None:
            return 0.0
        return log_e_rare(self.against, self.passed + further_passed, self.bound)

    @property
    def is_met(self) -> bool:
        """Whether it has been run long enough and, if it is tested, is shown."""
        enough = self.episodes >= self.least_episodes
        return enough and (self.bound is None or self.log_evidence() >= self.log_threshold)

    def is_lost(self, remaining: int) -> bool:
        """Tell whether so many more episodes could not show it, even if none failed."""
        if self.episodes + remaining < self.least_episodes:
            return True
        return self.bound is not None and self.log_evidence(remaining) < self.log_threshold

    @property
    def upper_bound(self) -> float:
        """The failure rate that the episodes so far exclude from above.

        It lies below the true rate with a chance of at most ``alpha``, whenever one looks.
        """
        return anytime_upper_bound(self.against, self.episodes, self.alpha)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Claim:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no claim.
        """
        try:
            return cls(**data)
        except (TypeError, InvalidConfig, UnknownName) as error:
            raise DamagedData(f"this is no claim: {error}") from error

    def __str__(self) -> str:
        """Say it in one line."""
        aim = "stated" if self.bound is None else f"to show < {self.bound:g}"
        unknown = f" and {self.unknown} unknown" if self.unknown else ""
        return (
            f"{self.kind}, {self.stratum}, {self.arm}: {self.failed} failed{unknown} of "
            f"{self.episodes:,} episodes, below {self.upper_bound:.2%} ({aim})"
        )


def anytime_upper_bound(failed: int, episodes: int, alpha: float) -> float:
    """Return the smallest failure rate that is rejected, together with all above it.

    For every rate ``b`` the evidence against "at least ``b``" is an e-process. If the true rate is
    ``p``, the one for ``b = p`` ever reaches ``1 / alpha`` with a chance of at most ``alpha``, and
    unless it does, the bound lies above ``p`` (evidence rises with ``b`` above the observed rate).
    A claim "below ``b``" is met exactly when this is below ``b``.
    """
    check_counts(failed, episodes)
    if failed == episodes:
        return 1.0
    needed = -math.log(alpha)

    def is_possible(rate: float) -> bool:
        return log_e_rare(failed, episodes - failed, rate) < needed

    return last_true(is_possible, failed / episodes, 1.0)
