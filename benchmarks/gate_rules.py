"""Stopping rules over paired trials as tables, so that millions of gates can be worked through.

Whether a rule stops after ``n`` pairs depends on wins and losses alone, and more wins never hurt.
So a rule is two numbers per look and count of losses: the fewest wins that promote, and the most
that refuse. The gate's table is filled by asking the gate itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from loopwright.core.sequential import spend_alpha
from loopwright.core.statistics import sign_test
from loopwright.loop.gate import Decision, GateConfig, Tally, look

Decide = Callable[[int, int, int], Decision]
"""What (pairs, wins, losses) decide at a look."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoppingRule:
    """When a gate stops."""

    looks: tuple[int, ...]
    """After how many pairs it looks; the last look always decides."""
    promote_from: np.ndarray
    """int64 ``(looks, max_pairs + 1)``: fewest wins that promote, by look and losses."""
    refuse_to: np.ndarray
    """int64 ``(looks, max_pairs + 1)``: most wins that refuse; -1 where none do."""

    @property
    def max_pairs(self) -> int:
        """Pairs after which it always has decided."""
        return self.looks[-1]


def tabulate(looks: Sequence[int], decide: Decide) -> StoppingRule:
    """Ask a rule about every count it may meet, by bisection over wins."""
    shape = (len(looks), looks[-1] + 1)
    never = looks[-1] + 1
    promote_from, refuse_to = np.full(shape, never), np.full(shape, never)
    for row, pairs in enumerate(looks):
        for losses in range(pairs + 1):
            promote_from[row, losses], refuse_to[row, losses] = _boundaries(pairs, losses, decide)
            if refuse_to[row, losses] == pairs - losses:
                break  # Even a sweep is refused, and with more losses all the more.
    return StoppingRule(looks=tuple(looks), promote_from=promote_from, refuse_to=refuse_to)


def _boundaries(pairs: int, losses: int, decide: Decide) -> tuple[int, int]:
    most = pairs - losses
    promote_from = _first(0, most + 1, lambda wins: decide(pairs, wins, losses) == "promote")
    if promote_from > most:
        promote_from = most + 2
    refuse_to = _first(
        0, min(promote_from, most + 1), lambda wins: decide(pairs, wins, losses) != "refuse"
    )
    return promote_from, refuse_to - 1


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Return the first number in ``[low, high)`` from which on a condition holds, else ``high``."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


@cache
def gate_rule(config: GateConfig, round_index: int, promotions_before: int = 0) -> StoppingRule:
    """Return the gate of one round, when no verdict is missing."""
    alpha = spend_alpha(config.alpha, round_index, promotions_before)

    def decide(pairs: int, wins: int, losses: int) -> Decision:
        ties = pairs - wins - losses
        return look(config, alpha, Tally(wins=wins, losses=losses, ties=ties))[0]

    return tabulate(config.looks(config.max_pairs), decide)


@cache
def sign_test_rule(looks: tuple[int, ...], alpha: float) -> StoppingRule:
    """Promote at any look with a one-sided exact McNemar p-value of at most alpha.

    With one look this is the ordinary fixed-n test. With several it is the common mistake.
    """

    def decide(pairs: int, wins: int, losses: int) -> Decision:
        if sign_test(wins, losses) <= alpha:
            return "promote"
        return "refuse" if pairs == looks[-1] else "continue"

    return tabulate(looks, decide)


@cache
def looks_better_rule(looks: tuple[int, ...]) -> StoppingRule:
    """Promote at the first look at which the challenger is ahead."""

    def decide(pairs: int, wins: int, losses: int) -> Decision:
        if wins > losses:
            return "promote"
        return "refuse" if pairs == looks[-1] else "continue"

    return tabulate(looks, decide)


@dataclass(frozen=True, kw_only=True, slots=True)
class Matchup:
    """How often a challenger wins and loses a pair."""

    win: float
    loss: float

    @classmethod
    def of(cls, champion: float, challenger: float, correlation: float = 0.0) -> Matchup:
        """Build from success rates and the correlation of both outcomes on one seed."""
        spread = champion * (1 - champion) * challenger * (1 - challenger)
        # No more can be shared than makes the rarer kind of differing pair vanish.
        wins, losses = challenger * (1 - champion), champion * (1 - challenger)
        shared = min(correlation * spread**0.5, wins, losses)
        return cls(win=wins - shared, loss=losses - shared)

    @classmethod
    def nested(cls, gain: float) -> Matchup:
        """Build a challenger that solves all the champion solves, and more."""
        return cls(win=gain, loss=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """What a rule does to a challenger in the long run."""

    promoted: float
    """Chance to be promoted."""
    mean_pairs: float
    """Expected number of pairs until it decides."""


def operate(rule: StoppingRule, matchup: Matchup) -> Operation:
    """Work out exactly what a rule does: a walk over (wins, losses) with every chance carried."""
    size = rule.max_pairs + 1
    wins = np.arange(size)[:, None]
    alive = np.zeros((size, size))
    alive[0, 0] = 1.0
    promoted = pairs = 0.0
    rows = {pairs: row for row, pairs in enumerate(rule.looks)}
    for seen in range(1, size):
        following = alive * (1 - matchup.win - matchup.loss)
        following[1:] += alive[:-1] * matchup.win
        following[:, 1:] += alive[:, :-1] * matchup.loss
        alive = following
        if seen in rows:
            good = wins >= rule.promote_from[rows[seen]]
            stops = good | (wins <= rule.refuse_to[rows[seen]])
            promoted += alive[good].sum()
            pairs += seen * alive[stops].sum()
            alive[stops] = 0.0
    return Operation(promoted=float(promoted), mean_pairs=float(pairs))


def draw_counts(
    looks: Sequence[int], matchup: Matchup, gates: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw what many gates see: int64 ``(gates, looks, 2)``, wins and losses up to each look."""
    chances = [matchup.win, matchup.loss, 1 - matchup.win - matchup.loss]
    steps = np.diff([0, *looks])
    return rng.multinomial(steps, chances, size=(gates, len(steps)))[..., :2].cumsum(axis=1)


def promotes(rule: StoppingRule, counts: np.ndarray) -> np.ndarray:
    """Tell which gates promote: bool ``(gates,)`` from what they see at the looks of the rule."""
    wins, losses = counts[..., 0], counts[..., 1]
    rows = np.arange(len(rule.looks))
    good = wins >= rule.promote_from[rows, losses]
    bad = wins <= rule.refuse_to[rows, losses]
    # The first decision is final: promoted if the first good look comes before the first bad one.
    never = len(rule.looks)
    first_good = np.where(good.any(axis=1), good.argmax(axis=1), never)
    first_bad = np.where(bad.any(axis=1), bad.argmax(axis=1), never)
    return first_good < first_bad


def fixed_pairs_needed(
    matchup: Matchup, alpha: float, power: float, most: int = 4000
) -> int | None:
    """Return how many pairs the fixed-n exact test needs for a power; None if more than ``most``.

    The power of an exact test saws up and down by a little as n grows; the answer is to within it.
    """
    low, high = 1, most
    if fixed_power(matchup, alpha, most) < power:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (
            (low, middle) if fixed_power(matchup, alpha, middle) >= power else (middle + 1, high)
        )
    return low


def fixed_power(matchup: Matchup, alpha: float, pairs: int) -> float:
    """Return the exact power of the one-sided McNemar test at a fixed number of pairs."""
    differing = np.arange(pairs + 1)
    chance = matchup.win + matchup.loss
    weights = _binomial(pairs, chance)
    power = 0.0
    for count in differing[weights > 1e-12]:
        least = _first(0, int(count) + 1, lambda w, d=int(count): sign_test(w, d - w) <= alpha)
        power += weights[count] * _binomial(int(count), matchup.win / chance)[least:].sum()
    return float(power)


def _binomial(trials: int, chance: float) -> np.ndarray:
    """Return float64 ``(trials + 1,)``: the chances of 0 to all successes."""
    if chance in (0.0, 1.0):
        return np.eye(trials + 1)[trials if chance else 0]
    k = np.arange(trials + 1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    log_choose = log_factorial[-1] - log_factorial - log_factorial[::-1]
    return np.exp(log_choose + k * np.log(chance) + (trials - k) * np.log1p(-chance))
