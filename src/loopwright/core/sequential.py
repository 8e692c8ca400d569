"""Statistics that stay valid however often one looks, and whenever one stops.

**The idea.** Bet against the null hypothesis with pretended money, at odds that are fair or worse
than fair if it is true. The fortune, starting at 1, is then a *test supermartingale*: whatever has
happened so far, the next value is expected to be no larger. Ville's inequality (1939) bounds how
far such a fortune can ever get,

    ``P(sup_t E_t >= 1/alpha) <= alpha``,

over all times at once, so one may stop at the first time ``E_t >= 1/alpha``, or at any other time
for any other reason, and reject with error at most ``alpha``.

Sources: Ramdas, Gruenwald, Vovk & Shafer 2023, "Game-theoretic statistics and safe anytime-valid
inference", Statistical Science 38; Waudby-Smith & Ramdas 2024, "Estimating means of bounded random
variables by betting", JRSS B 86; Robbins 1970, "Statistical methods related to the law of the
iterated logarithm" (the mixture); Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49.
"""

from __future__ import annotations

import math

from loopwright.core.errors import InvalidConfig
from loopwright.core.statistics import (
    Interval,
    check_confidence,
    check_counts,
    last_true,
    log_beta,
    log_incomplete_beta,
)


def log_e_above(successes: int, failures: int, boundary: float = 0.5) -> float:
    """Return the log evidence that successes come with a probability above ``boundary``.

    The e-process against the null "every trial, given all trials before it, succeeds with a
    probability of at most ``boundary``" that mixes uniformly over the alternatives above it::

        E = 1/(1 - b) * integral over u in (b, 1] of (u/b)^S ((1 - u)/(1 - b))^F du
          = B(S + 1, F + 1) * I_{1 - b}(F + 1, S + 1) / (b^S (1 - b)^(F + 1))

    with S successes, F failures and ``b = boundary``. At ``b = 1/2`` it is the rational number
    ``sum_{k <= S} C(n + 1, k) / ((n + 1) C(n, S))``, ``n = S + F``.

    **It is a test supermartingale.** Fix an alternative ``u > b``, and let the next trial succeed
    with probability ``q <= b`` given the past (``q`` may depend on the past: nothing need be
    independent or identically distributed). The factor it contributes has the expectation
    ``q u/b + (1 - q)(1 - u)/(1 - b)``. This is linear in ``q``; its slope
    ``u/b - (1 - u)/(1 - b)`` is positive because ``u > b``; and at ``q = b`` it is
    ``u + (1 - u) = 1``. So it is at most 1, the product of factors is a nonnegative supermartingale
    that starts at 1, and the mixture over ``u`` inherits that (Tonelli: expectation and integral
    exchange). Ville's inequality follows.

    It depends on the counts alone, never on the order, rises with every success and falls with
    every failure that could have been a success. A trial that is no evidence (a tie) is left out:
    its factor is 1.

    Args:
        successes: S, how many trials succeeded (pairs that the challenger won).
        failures: F, how many failed (pairs that it lost).
        boundary: b, the largest probability of the null, strictly between 0 and 1.

    Returns:
        ``ln E``. Reject the null at level alpha when it is at least ``-ln alpha``.

    Raises:
        InvalidConfig: A count is negative, or the boundary is not between 0 and 1.
    """
    check_counts(successes, successes + failures)
    if not 0 < boundary < 1:
        raise InvalidConfig(f"boundary {boundary}; expected strictly between 0 and 1")
    return (
        log_beta(successes + 1, failures + 1)
        + log_incomplete_beta(failures + 1, successes + 1, 1 - boundary)
        - successes * math.log(boundary)
        - (failures + 1) * math.log1p(-boundary)
    )


def log_e_below(successes: int, failures: int, boundary: float = 0.5) -> float:
    """Return the log evidence that successes come with a probability below ``boundary``.

    The mirror image of :func:`log_e_above`: failures bet against the null "every trial succeeds
    with a probability of at least ``boundary``".
    """
    return log_e_above(failures, successes, 1 - boundary)


def log_e_rare(events: int, others: int, bound: float, shape: float = 0.5) -> float:
    """Return the log evidence that events are rarer than ``bound``.

    The e-process of :func:`log_e_below` with another mixture: alternatives ``u`` in ``[0, b)``
    have the density ``s u^(s - 1) / b^s`` instead of a uniform one, which at ``s = 1/2`` expects
    events to be much rarer than the bound. It is a test supermartingale for the same reason, and
    needs 16 % fewer trials than the uniform mixture where there is no event at all, at the price
    of 4 % more where events come half as often as the bound::

        E = s B(F + s, S + 1) I_b(F + s, S + 1) / (b^(F + s) (1 - b)^S)

    with F events, S others, ``b = bound`` and ``s = shape``.

    Args:
        events: F, how many trials had the event.
        others: S, how many had not.
        bound: b, the smallest probability of the null, strictly between 0 and 1.
        shape: s, above 0; 1 is the uniform mixture.

    Returns:
        ``ln E``. Reject "at least ``bound``" at level alpha when it is at least ``-ln alpha``.

    Raises:
        InvalidConfig: A count is negative, or the bound or the shape is impossible.
    """
    check_counts(events, events + others)
    if not 0 < bound < 1:
        raise InvalidConfig(f"bound {bound}; expected strictly between 0 and 1")
    if not shape > 0:
        raise InvalidConfig(f"shape {shape}; expected above 0")
    return (
        math.log(shape)
        + log_beta(events + shape, others + 1)
        + log_incomplete_beta(events + shape, others + 1, bound)
        - (events + shape) * math.log(bound)
        - others * math.log1p(-bound)
    )


def confidence_sequence(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return an interval of a success probability that is valid at all times at once.

    With probability at least ``confidence`` the interval holds the true probability after the
    first trial *and* the second *and* every later one, so it may be read at a moment chosen
    because of what it shows, such as the end of a sequential gate. For the true ``p`` the ratio
    ``B(S + 1, F + 1) / (p^S (1 - p)^F)`` of a uniform mixture to the true likelihood is a
    martingale that starts at 1 (Robbins 1970); the interval is every ``p`` for which it has stayed
    below ``1 / (1 - confidence)``. The likelihood has one peak, so the set is an interval.

    Trials must be independent with one common success probability. The price against
    :func:`~loopwright.core.statistics.clopper_pearson` is width: at 50 successes in 50 trials the
    lower end is 0.87 instead of 0.93.
    """
    check_counts(successes, trials)
    check_confidence(confidence)
    if trials == 0:
        return Interval(0.0, 1.0)
    return Interval(
        _lower_end(successes, trials, confidence),
        1.0 - _lower_end(trials - successes, trials, confidence),
    )


def _lower_end(successes: int, trials: int, confidence: float) -> float:
    failures = trials - successes
    if successes == 0:
        return 0.0
    floor = log_beta(successes + 1, failures + 1) + math.log1p(-confidence)

    def is_rejected(probability: float) -> bool:
        log_likelihood = successes * math.log(probability) + failures * math.log1p(-probability)
        return log_likelihood <= floor

    return last_true(is_rejected, 0.0, successes / trials)


def spend_alpha(alpha: float, round_index: int, promotions_before: int = 0) -> float:
    """Return the error budget of one round of a loop.

    The budget is cut into slices ``alpha / (r (r + 1))``: 1/2, 1/6, 1/12, ... of it, which sum to
    all of it over infinitely many rounds. A round owns its slice, and inherits what the round
    before it had *if that round ended in a promotion*: money spent on an earned promotion was
    never lost. After ``k`` promotions in a row the slices of ``r - k`` to ``r`` add up to
    ``alpha (1 / (r - k) - 1 / (r + 1))``. A round that ends otherwise loses what it had.

    **In any loop, however long, the chance of one or more unearned promotions is at most alpha.**
    Call a round *null* if its challenger is not better; that is settled before its trials begin,
    though it may depend on all rounds before. As long as no null round has been promoted, a run
    of promotions contains none, so the budget of a null round consists of slices after the
    previous null round: different null rounds use different slices. Given its past, a null round
    is promoted with a chance of at most its budget (Ville), so the chance that some null round is
    the first to be promoted is at most the expected sum of all those slices, and thus ``alpha``.

    This is the online fallback procedure of Tian & Ramdas 2021, "Online control of the familywise
    error rate", Statistical Methods in Medical Research 30.

    Args:
        alpha: Error budget of the whole loop.
        round_index: r, counted from 1; every gate of a loop has its own.
        promotions_before: k, how many rounds in a row ended in a promotion just before this one.

    Raises:
        InvalidConfig: A value is impossible.
    """
    if not 0 < alpha < 1:
        raise InvalidConfig(f"alpha {alpha}; expected above 0 and below 1, such as 0.05")
    if round_index < 1:
        raise InvalidConfig(f"round_index {round_index}; the gates of a loop are counted from 1")
    if not 0 <= promotions_before < round_index:
        raise InvalidConfig(
            f"{promotions_before} promotions in a row before round {round_index}; "
            f"expected 0 to {round_index - 1}"
        )
    first, last = round_index - promotions_before, round_index
    return alpha * (last - first + 1) / (first * (last + 1))
