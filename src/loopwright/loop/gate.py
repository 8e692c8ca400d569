"""The gate: does the challenger solve more starts than the champion?

Champion and challenger meet on the same seeds. A pair that only the challenger solves is a *win*,
one that only the champion solves a *loss*, the rest are *ties*. Each round bets on wins against
the null hypothesis "a win is no more likely than a loss", which says exactly that the challenger's
success rate is not the higher one, and promotes when the bet has multiplied its stake by
``1 / alpha_r`` (:func:`~loopwright.core.sequential.log_e_above`). What that buys:

- **Looking is free.** The evidence is a test supermartingale, so a worthless challenger ever
  reaches ``1 / alpha_r`` with probability at most ``alpha_r``, however often one looks and for
  whatever reason one stops.
- **The budget covers the loop, not the round.** The slices ``alpha / (r (r + 1))`` sum to
  ``alpha``, and an earned promotion hands its slice on to the next round
  (:func:`~loopwright.core.sequential.spend_alpha`), so a loop of any length makes one or more
  unearned promotions with probability at most ``alpha``. Challengers may depend on everything seen
  in earlier rounds.
- **Fresh seeds in every round.** A challenger is often chosen *because* it did well on earlier
  seeds, and would do well on them again by that choice alone (the winner's curse). So gate seeds
  are never used twice; the loop draws new ones for every round and counts them.
- **Stopping early for lack of hope costs nothing.** Giving up only removes runs that might have
  been promoted later; it can take power but never add a false promotion. So the futility rule
  needs no share of alpha, and may be changed between loops without harming the guarantee.
- **Missing trials cannot help.** An ``unknown`` outcome counts as neither success nor failure. A
  promotion must also stand if every missing pair is counted as the worst it could have been, so
  the guarantee holds whatever made the outcomes go missing, a challenger that breaks the verifier
  where it fails included. Past a declared share the gate is blocked: somebody should look.

What it assumes: that the seeds are independent draws of the starts the champion should be good at,
judged in an order fixed before any outcome was known (*not* in the order in which parallel episodes
finish: successes are often shorter, so they would be looked at first), and a verifier that treats
both sides alike. It cannot defend against a verifier that one side has learned to fool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from loopwright.core.episode import Outcome
from loopwright.core.errors import ContractError, InvalidConfig
from loopwright.core.sequential import (
    confidence_sequence,
    log_e_above,
    log_e_below,
    spend_alpha,
)

Decision = Literal["continue", "promote", "refuse", "blocked"]
Standing = Literal["win", "loss", "tie", "missing"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """What is fixed before the first trial of a loop."""

    alpha: float = 0.05
    """Largest chance that the whole loop, however long, promotes a challenger that is no better."""
    max_pairs: int = 200
    """Pairs in a round after which an unproven challenger is refused."""
    min_pairs: int = 10
    """Pairs before the first look."""
    batch: int = 10
    """Pairs between two looks; the cost of looking often is nothing but time."""
    max_missing_share: float = 0.05
    """Share of pairs without two verdicts past which the gate is blocked."""
    futility_win_share: float | None = 2 / 3
    """The gain worth waiting for, as the share of wins among the pairs that differ. None gives up
    only when even winning every remaining pair would not be enough."""
    futility_error: float = 0.1
    """Largest chance to take a challenger that wins at least that share for one that does not, and
    to underestimate how often it wins."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be run."""
        for name in ("alpha", "futility_error"):
            if not 0 < getattr(self, name) < 1:
                raise InvalidConfig(
                    f"gate {name} is {getattr(self, name)}; expected above 0 and below 1"
                )
        if not 1 <= self.min_pairs <= self.max_pairs:
            raise InvalidConfig(
                f"gate min_pairs is {self.min_pairs} and max_pairs {self.max_pairs}; "
                "expected 1 <= min_pairs <= max_pairs"
            )
        if self.batch < 1:
            raise InvalidConfig(f"gate batch is {self.batch} pairs; expected at least 1")
        if not 0 <= self.max_missing_share < 1:
            raise InvalidConfig(
                f"gate max_missing_share is {self.max_missing_share}; expected 0 <= share < 1"
            )
        if self.futility_win_share is not None and not 0.5 <= self.futility_win_share < 1:
            raise InvalidConfig(
                f"gate futility_win_share is {self.futility_win_share}; expected 0.5 <= share < 1 "
                "(half of the differing pairs is no gain), or None"
            )

    def looks(self, pairs: int) -> list[int]:
        """Return after how many pairs the gate has looked once it has seen ``pairs``."""
        multiples = range(self.batch, pairs + 1, self.batch)
        looks = [n for n in multiples if self.min_pairs <= n < self.max_pairs]
        return [*looks, self.max_pairs] if pairs >= self.max_pairs else looks


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTrial:
    """Champion and challenger on one seed."""

    seed: int
    champion: Outcome
    challenger: Outcome

    def __post_init__(self) -> None:
        """Refuse what is no outcome."""
        for outcome in (self.champion, self.challenger):
            if outcome not in get_args(Outcome):
                raise ContractError(
                    f"seed {self.seed} has the outcome {outcome!r}; "
                    f"expected one of {get_args(Outcome)}"
                )

    @property
    def standing(self) -> Standing:
        """What the pair says about the challenger."""
        if "unknown" in (self.champion, self.challenger):
            return "missing"
        if self.champion == self.challenger:
            return "tie"
        return "win" if self.challenger == "success" else "loss"

    @property
    def may_be_loss(self) -> bool:
        """Whether the pair is missing and its verdicts, if known, could make it a loss."""
        return (
            self.standing == "missing"
            and self.champion != "failure"
            and self.challenger != "success"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Pairs counted by what they say about the challenger."""

    wins: int = 0
    losses: int = 0
    ties: int = 0
    missing: int = 0
    possible_losses: int = 0
    """How many of the missing pairs could have been losses."""

    @classmethod
    def of(cls, trials: Sequence[PairedTrial]) -> Tally:
        """Count trials; their order does not matter."""
        standings = [trial.standing for trial in trials]
        return cls(
            wins=standings.count("win"),
            losses=standings.count("loss"),
            ties=standings.count("tie"),
            missing=standings.count("missing"),
            possible_losses=sum(trial.may_be_loss for trial in trials),
        )

    @property
    def pairs(self) -> int:
        """All pairs, missing ones included."""
        return self.wins + self.losses + self.ties + self.missing

    @property
    def log_evidence(self) -> float:
        """Log of the e-value against "the challenger is no better"; missing pairs are left out."""
        return log_e_above(self.wins, self.losses)

    def log_worst_evidence(self, further_wins: int = 0) -> float:
        """Return the log e-value with every possible loss lost, after so many further wins."""
        return log_e_above(self.wins + further_wins, self.losses + self.possible_losses)

    def log_best_evidence(self, further_wins: int) -> float:
        """Return the log e-value after so many further wins."""
        return log_e_above(self.wins + further_wins, self.losses)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A success rate with an interval that is valid although the gate chose when to stop."""

    successes: int
    trials: int
    """Trials with a known outcome."""
    low: float
    high: float
    confidence: float = 0.95

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Rate:
        """Count the known outcomes."""
        successes = outcomes.count("success")
        trials = successes + outcomes.count("failure")
        low, high = confidence_sequence(successes, trials)
        return cls(successes=successes, trials=trials, low=low, high=high)


@dataclass(frozen=True, kw_only=True, slots=True)
class GateDecision:
    """What the gate decided, and everything it decided by."""

    decision: Decision
    reason: str
    """One sentence for a person."""
    round_index: int
    promotions_before: int
    """How many gates in a row just before this one ended in a promotion."""
    config: GateConfig
    tally: Tally
    """The pairs it looked at; later ones played no part."""
    log_path: tuple[float, ...]
    """Natural log of the e-value before the first pair (0) and after each pair."""
    log_worst_case: float
    """Natural log of the e-value with each missing pair counted against the challenger."""
    champion: Rate
    challenger: Rate

    @property
    def pairs(self) -> int:
        """How many pairs it looked at."""
        return self.tally.pairs

    @property
    def alpha(self) -> float:
        """Error budget of this round."""
        return spend_alpha(self.config.alpha, self.round_index, self.promotions_before)

    @property
    def threshold(self) -> float:
        """E-value that promotes: ``1 / alpha``."""
        return 1 / self.alpha

    @property
    def e_value(self) -> float:
        """E-value after the last pair it looked at."""
        return self.e_path[-1]

    @property
    def e_path(self) -> tuple[float, ...]:
        """E-value before the first pair (1) and after each pair; capped at 1e300."""
        return tuple(math.exp(min(value, math.log(1e300))) for value in self.log_path)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateDecision:
        """Read what :meth:`to_json` wrote."""
        fields = dict(data)
        fields["config"] = GateConfig(**data["config"])
        fields["tally"] = Tally(**data["tally"])
        fields["log_path"] = tuple(data["log_path"])
        fields["champion"] = Rate(**data["champion"])
        fields["challenger"] = Rate(**data["challenger"])
        return cls(**fields)


def judge(
    config: GateConfig,
    round_index: int,
    trials: Sequence[PairedTrial],
    *,
    promotions_before: int = 0,
    planned_seeds: Sequence[int] | None = None,
) -> GateDecision:
    """Decide on a challenger from the trials so far.

    Pure: the same configuration, round and trials give the same decision, and the first look at
    which a decision falls is final, so trials after it change nothing.

    Args:
        config: Registered before the first trial of the loop.
        round_index: Which gate of the loop this is, from 1. Every gate spends its own share of
            alpha: a loop with two gates in one turn counts them apart.
        promotions_before: How many gates in a row just before this one ended in a promotion; they
            hand their share on. A gate that the floor or a person overruled did not.
        trials: In the order of the seeds as planned, not as finished. At most ``max_pairs``.
        planned_seeds: If given, the trials must have its first seeds, in its order.

    Raises:
        ContractError: A seed occurs twice, or trials do not follow the plan.
        InvalidConfig: There are more trials than ``max_pairs``, or there is no such round.
    """
    alpha = spend_alpha(config.alpha, round_index, promotions_before)
    _check_plan(config, trials, planned_seeds)
    decision, reason, seen = "continue", "no look has been due yet", 0
    for seen in config.looks(len(trials)):
        decision, reason = look(config, alpha, Tally.of(trials[:seen]))
        if decision != "continue":
            break
    judged = trials[:seen]
    return GateDecision(
        decision=decision,
        reason=reason,
        round_index=round_index,
        promotions_before=promotions_before,
        config=config,
        tally=Tally.of(judged),
        log_path=_log_path(judged),
        log_worst_case=Tally.of(judged).log_worst_evidence(),
        champion=Rate.of([trial.champion for trial in judged]),
        challenger=Rate.of([trial.challenger for trial in judged]),
    )


def look(config: GateConfig, alpha: float, tally: Tally) -> tuple[Decision, str]:
    """Return what one look at the counts decides, and why, in one sentence.

    The order of the rules is part of the plan. :func:`judge` looks when a look is due.

    Args:
        config: Registered before the first trial of the loop.
        alpha: Error budget of this round.
        tally: The pairs so far.
    """
    log_threshold = -math.log(alpha)
    remaining = config.max_pairs - tally.pairs
    score = f"{tally.wins} won, {tally.losses} lost in {tally.pairs} pairs"
    proof = f"evidence {_amount(tally.log_evidence)} of the {math.exp(log_threshold):,.0f} needed"
    if tally.missing > config.max_missing_share * config.max_pairs:
        return "blocked", (
            f"{tally.missing} of {tally.pairs} pairs have no verdict on both sides, more than "
            f"{config.max_missing_share:.0%} of {config.max_pairs}; find out why"
        )
    # A share that is too high now may still fall with more pairs, so it only postpones.
    is_complete = tally.missing <= config.max_missing_share * tally.pairs
    if is_complete and tally.log_worst_evidence() >= log_threshold:
        return "promote", f"better: {score}; {proof}"
    if tally.log_best_evidence(remaining) < log_threshold:
        return "refuse", f"not proven better: {score}; {proof}, out of reach in {remaining} more"
    if tally.log_worst_evidence(remaining) < log_threshold:
        return "blocked", (
            f"{score}; {proof}, but {tally.possible_losses} pairs without a verdict could have "
            "been losses; find out why"
        )
    hopelessness = _hopelessness(config, tally, log_threshold)
    if hopelessness is not None:
        return "refuse", f"not better by enough: {score}; {proof}, and {hopelessness}"
    return "continue", f"open: {score}; {proof}"


def _hopelessness(config: GateConfig, tally: Tally, log_threshold: float) -> str | None:
    """Return why more pairs are not worth their cost, or None if they may be."""
    share = config.futility_win_share
    if share is None:
        return None
    # The mirrored bet: losses against "at least that share of the differing pairs is won".
    if log_e_below(tally.wins, tally.losses, share) >= -math.log(config.futility_error):
        return f"it wins evidently fewer than {share:.0%} of the pairs that differ"
    # A champion near perfection leaves few pairs to win: would the most to hope for be enough?
    decided = tally.pairs - tally.missing
    most_often = confidence_sequence(tally.wins, decided, 1 - config.futility_error).high
    remaining = config.max_pairs - tally.pairs
    hoped_wins = math.ceil(remaining * most_often)
    if tally.log_best_evidence(hoped_wins) < log_threshold:
        return f"{hoped_wins} wins in {remaining} more, the most to hope for, would not prove it"
    return None


def _amount(log_value: float) -> str:
    """Write an e-value for a person; three digits are plenty."""
    return f"{math.exp(log_value):,.3g}" if log_value < 13 else f"1e{log_value / math.log(10):.0f}"


def _log_path(trials: Sequence[PairedTrial]) -> tuple[float, ...]:
    path, wins, losses = [0.0], 0, 0
    for trial in trials:
        standing = trial.standing
        wins += standing == "win"
        losses += standing == "loss"
        path.append(log_e_above(wins, losses))
    return tuple(path)


def _check_plan(
    config: GateConfig, trials: Sequence[PairedTrial], planned_seeds: Sequence[int] | None
) -> None:
    _check_distinct(trials)
    if len(trials) > config.max_pairs:
        raise InvalidConfig(
            f"{len(trials)} trials for a gate of at most {config.max_pairs} pairs; "
            "a gate is not prolonged after the fact: raise max_pairs in the next loop"
        )
    if planned_seeds is None:
        return
    for place, trial in enumerate(trials):
        planned = planned_seeds[place] if place < len(planned_seeds) else None
        if trial.seed != planned:
            raise ContractError(
                f"trial {place} has the seed {trial.seed}, planned was {planned}; "
                "hand the trials over in the planned order, whichever finished first"
            )


def _check_distinct(trials: Sequence[PairedTrial]) -> None:
    seen: set[int] = set()
    for trial in trials:
        if trial.seed in seen:
            raise ContractError(
                f"seed {trial.seed} occurs twice in one gate; "
                "the same start twice is one piece of evidence, so every seed must be new"
            )
        seen.add(trial.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorCheck:
    """Whether a challenger stands above the first champion on the seeds they shared."""

    holds: bool
    reason: str
    """One sentence for a person."""
    tally: Tally

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FloorCheck:
        """Read what :meth:`to_json` wrote."""
        return cls(holds=data["holds"], reason=data["reason"], tally=Tally(**data["tally"]))


def floor_holds(trials_against_first_champion: Sequence[PairedTrial]) -> FloorCheck:
    """Tell whether a challenger may be promoted as far as the *first* champion is concerned.

    The trials pair the challenger with the first champion (as ``champion``) on the seeds of the
    challenger's gate. It holds unless the challenger loses more pairs than it wins, a missing pair
    that could have been a loss counting as one.

    **What the gates already guarantee.** With probability at least ``1 - alpha`` every promotion of
    a loop goes to a challenger with a truly higher success rate than the champion it met. Rates on
    one distribution of starts under one verifier are numbers, and "higher" among numbers is
    transitive, so then every champion is better than the first.

    **What the floor adds.** Two things that argument takes for granted: that the distribution of
    starts and the verifier stayed the same, and that this is not the unlucky ``alpha``. A
    challenger worse than the first champion by ``d`` (difference of true rates) passes ``n`` pairs
    with a chance of at most ``exp(-n d^2 / 2)``, and one better by ``d`` is turned away with at
    most that chance (Hoeffding 1963; a pair's difference lies in [-1, 1]).

    **What it does not add.** It is a comparison of counts, not a test: a challenger as good as the
    first champion fails it up to half of the time, and one slightly worse may pass. It sees the
    mean over starts, so it says nothing of one region getting worse while others get better, and
    nothing of safety.

    Raises:
        ContractError: There is no trial, or a seed occurs twice.
    """
    if not trials_against_first_champion:
        raise ContractError(
            "the floor was given no trial; run the first champion on the seeds of the gate"
        )
    _check_distinct(trials_against_first_champion)
    tally = Tally.of(trials_against_first_champion)
    holds = tally.wins >= tally.losses + tally.possible_losses
    possible = f" and perhaps {tally.possible_losses} more" if tally.possible_losses else ""
    return FloorCheck(
        holds=holds,
        reason=(
            f"{'not below' if holds else 'below'} the first champion: {tally.wins} won, "
            f"{tally.losses} lost{possible} in {tally.pairs} pairs"
        ),
        tally=tally,
    )
