"""What the gate lets through, what it costs, and what can be smuggled past it.

``python -m benchmarks.gate`` (or ``make bench NAME=gate``):

1. 2,000 loops of 20 rounds in which every challenger is worthless: in how many is any promoted?
   Beside them the rules people use: "promote when it looks better", "p < 0.05".
2. Real gains: how surely are they found, with how many pairs, against a test of fixed size.
3. Poisoned loops: faults the gate defends against, and faults it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.gate_rules import (
    Matchup,
    StoppingRule,
    draw_counts,
    fixed_pairs_needed,
    gate_rule,
    looks_better_rule,
    operate,
    promotes,
    sign_test_rule,
)
from benchmarks.harness import Benchmark, Measurement, figure
from loopwright.core.episode import Outcome
from loopwright.core.seeds import generator
from loopwright.core.sequential import spend_alpha
from loopwright.core.statistics import Interval, clopper_pearson
from loopwright.loop.gate import GateConfig, PairedTrial, judge

SEED = 20261122
CONFIG = GateConfig()
LOOKS = tuple(CONFIG.looks(CONFIG.max_pairs))
ROUNDS = 20
BUDGET = f"<= {CONFIG.alpha}"

NAIVE: dict[str, StoppingRule] = {
    "ahead at any look": looks_better_rule(LOOKS),
    "p < 0.05 at any look": sign_test_rule(LOOKS, 0.05),
    "p < 0.05 at the end": sign_test_rule(LOOKS[-1:], 0.05),
}


def gates(rounds: int = ROUNDS) -> list[StoppingRule]:
    """Return the gate of every round of a loop."""
    return [gate_rule(CONFIG, index) for index in range(1, rounds + 1)]


def any_round(promoted: np.ndarray) -> tuple[float, Interval]:
    """Return the share of loops with a promotion, with its exact interval.

    Args:
        promoted: bool ``(loops, rounds)``.
    """
    loops = int(promoted.any(axis=1).sum())
    return loops / len(promoted), clopper_pearson(loops, len(promoted))


# -- 1. worthless challengers --------------------------------------------------------------------


def worthless() -> Iterator[tuple[str, Matchup]]:
    """Yield challengers that are no better than the champion they meet."""
    for base in (0.1, 0.5, 0.9, 0.98):
        yield f"rate {base}, equal", Matchup.of(base, base)
        yield f"rate {base}, equal, correlated 0.8", Matchup.of(base, base, correlation=0.8)
        yield f"rate {base}, worse by 0.02", Matchup.of(base, base - 0.02)


def measure_errors(bench: Benchmark, loops: int) -> None:
    """Run loops whose challengers are all worthless, the naive rules on the same draws."""
    for name, matchup in bench.track(worthless(), f"{loops} loops of {ROUNDS} worthless rounds"):
        rng = generator(SEED, "worthless", name)
        counts = [draw_counts(LOOKS, matchup, loops, rng) for _ in range(ROUNDS)]
        promoted = np.stack([promotes(g, c) for g, c in zip(gates(), counts, strict=True)], axis=1)
        share, interval = any_round(promoted)
        rivals = []
        for rival, rule in NAIVE.items():
            # A rule that sees only the end has one look.
            seen = [c[:, -len(rule.looks) :] for c in counts]
            mistaken, _ = any_round(np.stack([promotes(rule, c) for c in seen], axis=1))
            rivals.append(f"{rival} {mistaken:.2f}")
        kept = np.prod([1 - operate(g, matchup).promoted for g in gates()])
        bench.add(
            Measurement(
                metric=f"unearned promotion: {name}",
                value=share,
                unit="of loops",
                interval=interval,
                n=loops,
                compared_with=f"exact {1 - kept:.4f}; " + ", ".join(rivals),
                target=BUDGET,
                holds=interval[1] <= CONFIG.alpha,
            )
        )


# -- 2. real gains -------------------------------------------------------------------------------

GAINS: dict[str, Matchup] = {
    "0.50 to 0.55": Matchup.of(0.5, 0.55),
    "0.50 to 0.60": Matchup.of(0.5, 0.6),
    "0.50 to 0.60, nothing unlearned": Matchup.nested(0.1),
    "0.50 to 0.70": Matchup.of(0.5, 0.7),
    "0.50 to 0.90": Matchup.of(0.5, 0.9),
    "0.90 to 0.98": Matchup.of(0.9, 0.98),
    "0.10 to 0.90": Matchup.of(0.1, 0.9),
}


STAGES: dict[str, tuple[int, int]] = {
    "round 1": (1, 0),
    "round 3": (3, 0),
    "round 10": (10, 0),
    "round 3 after 2 promotions": (3, 2),
    "round 10 after 9 promotions": (10, 9),
}
"""Where in a loop: the round, and how many promotions in a row hand it their budget."""


def measure_power(bench: Benchmark, stages: Sequence[str]) -> None:
    """Work out how surely and how fast real gains are promoted, beside tests of fixed size."""
    cases = [(stage, name) for stage in stages for name in GAINS]
    for stage, name in bench.track(cases, "power"):
        matchup, alpha = GAINS[name], spend_alpha(CONFIG.alpha, *STAGES[stage])
        gate = operate(gate_rule(CONFIG, *STAGES[stage]), matchup)
        fixed = operate(sign_test_rule(LOOKS[-1:], alpha), matchup)
        naive = operate(NAIVE["p < 0.05 at any look"], matchup)
        needed = fixed_pairs_needed(matchup, alpha, gate.promoted)
        bench.add(
            Measurement(
                metric=f"promoted, {stage}: {name}",
                value=gate.promoted,
                unit="of gates",
                n=None,
                compared_with=(
                    f"fixed {LOOKS[-1]} pairs, same alpha {fixed.promoted:.3f}; "
                    f"invalid p < 0.05 at any look {naive.promoted:.3f}"
                ),
            )
        )
        bench.add(
            Measurement(
                metric=f"mean pairs, {stage}: {name}",
                value=gate.mean_pairs,
                unit="pairs",
                n=None,
                compared_with=f"fixed-n test of the same power and alpha {needed}",
            )
        )


def measure_refusals(bench: Benchmark) -> None:
    """Work out what a worthless challenger costs before it is refused."""
    for name, matchup in [*worthless(), ("a perfect champion", Matchup(win=0.0, loss=0.02))]:
        pairs = [operate(gate_rule(CONFIG, r), matchup).mean_pairs for r in (1, 3, 10)]
        bench.add(
            Measurement(
                metric=f"mean pairs until refused, round 1: {name}",
                value=pairs[0],
                unit="pairs",
                n=None,
                compared_with=(
                    f"round 3 {figure(pairs[1])}, round 10 {figure(pairs[2])}; "
                    f"fixed-n {CONFIG.max_pairs}"
                ),
            )
        )


# -- 3. poisoned loops ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Poison:
    """A fault, and how to draw loops that suffer from it."""

    name: str
    promoted: Callable[[int, np.random.Generator], np.ndarray]
    """Loops to bool ``(loops, rounds)``: which rounds promoted."""
    loops: int
    defended: bool


def rounds_of(rules: list[StoppingRule], matchup: Matchup) -> Callable[..., np.ndarray]:
    """Return a drawer of loops whose pairs are independent."""

    def draw(loops: int, rng: np.random.Generator) -> np.ndarray:
        columns = [promotes(r, draw_counts(r.looks, matchup, loops, rng)) for r in rules]
        return np.stack(columns, axis=1)

    return draw


def after_every_gain(loops: int, rng: np.random.Generator) -> np.ndarray:
    """A real gain, then a worthless challenger with the budget that the gain hands on, in turn.

    No order of gains makes unearned promotions likelier: every slice of the budget gets used.
    """
    gain, worthless = Matchup.of(0.1, 0.9), Matchup.of(0.5, 0.5)
    in_a_row = np.zeros(loops, dtype=int)
    columns = []
    for index in range(1, ROUNDS + 1):
        counts = draw_counts(LOOKS, gain if index % 2 else worthless, loops, rng)
        promoted = np.zeros(loops, dtype=bool)
        for before in np.unique(in_a_row):
            among = in_a_row == before
            promoted[among] = promotes(gate_rule(CONFIG, index, int(before)), counts[among])
        in_a_row = np.where(promoted, in_a_row + 1, 0)
        columns.append(promoted & (index % 2 == 0))
    return np.stack(columns, axis=1)


def from_pairs(solved: np.ndarray) -> np.ndarray:
    """Count wins and losses at the looks: bool ``(gates, pairs, 2)`` to ``(gates, looks, 2)``."""
    wins = solved[..., 1] & ~solved[..., 0]
    losses = solved[..., 0] & ~solved[..., 1]
    at = np.array(LOOKS) - 1
    return np.stack([wins.cumsum(axis=1)[:, at], losses.cumsum(axis=1)[:, at]], axis=-1)


def chosen_on(seeds: str) -> Callable[..., np.ndarray]:
    """Ten equal candidates; the best on some seeds is sent to a gate on the same or fresh ones."""

    def draw(loops: int, rng: np.random.Generator) -> np.ndarray:
        columns = []
        for rule in gates():
            solved = rng.random((loops, CONFIG.max_pairs, 11)) < 0.5
            best = 1 + solved[..., 1:].sum(axis=1).argmax(axis=1)
            if seeds == "fresh":
                solved = rng.random((loops, CONFIG.max_pairs, 11)) < 0.5
            pairs = np.stack([solved[..., 0], solved[np.arange(loops), :, best]], axis=-1)
            columns.append(promotes(rule, from_pairs(pairs)))
        return np.stack(columns, axis=1)

    return draw


def stored_starts(count: int) -> Callable[..., np.ndarray]:
    """A world that has few starts behind many seeds, for policies that repeat themselves."""

    def draw(loops: int, rng: np.random.Generator) -> np.ndarray:
        columns = []
        for rule in gates():
            solved = rng.random((loops, count, 2)) < 0.5
            starts = rng.integers(count, size=(loops, CONFIG.max_pairs))
            columns.append(promotes(rule, from_pairs(solved[np.arange(loops)[:, None], starts])))
        return np.stack(columns, axis=1)

    return draw


def hidden_losses(*, against: bool) -> Callable[..., np.ndarray]:
    """A challenger that turns losses into ``unknown``, as many as never block the gate.

    Args:
        against: Count a missing pair against the challenger, as the gate does, or leave it out.
    """

    def draw(loops: int, rng: np.random.Generator) -> np.ndarray:
        columns = []
        allowed = np.floor(CONFIG.max_missing_share * np.arange(1, CONFIG.max_pairs + 1))
        for rule in gates():
            solved = rng.random((loops, CONFIG.max_pairs, 2)) < 0.5
            counts = from_pairs(solved)
            if not against:
                losses = solved[..., 0] & ~solved[..., 1]
                hidden = np.zeros(loops)
                shown = np.zeros(losses.shape, dtype=bool)
                for place in range(CONFIG.max_pairs):
                    hides = losses[:, place] & (hidden < allowed[place])
                    hidden += hides
                    shown[:, place] = losses[:, place] & ~hides
                counts[..., 1] = shown.cumsum(axis=1)[:, np.array(LOOKS) - 1]
            columns.append(promotes(rule, counts))
        return np.stack(columns, axis=1)

    return draw


def missing_verdicts(
    missing: float, champion: float, challenger: float, decision: str = "promote"
) -> Callable[..., np.ndarray]:
    """Loops through :func:`judge` itself, with outcomes that go missing at random.

    It tells which rounds end in a given decision.
    """

    def draw(loops: int, rng: np.random.Generator) -> np.ndarray:
        made = np.zeros((loops, ROUNDS), dtype=bool)
        for loop in range(loops):
            for index in range(1, ROUNDS + 1):
                trials = draw_trials(rng, missing, (champion, challenger))
                made[loop, index - 1] = judge(CONFIG, index, trials).decision == decision
        return made

    return draw


def draw_trials(
    rng: np.random.Generator, missing: float, rates: tuple[float, float]
) -> list[PairedTrial]:
    """Draw the pairs of one whole gate."""
    solved = rng.random((CONFIG.max_pairs, 2)) < rates
    lost = rng.random((CONFIG.max_pairs, 2)) < missing

    def outcome(place: tuple[int, int]) -> Outcome:
        if lost[place]:
            return "unknown"
        return "success" if solved[place] else "failure"

    return [
        PairedTrial(seed=s, champion=outcome((s, 0)), challenger=outcome((s, 1)))
        for s in range(CONFIG.max_pairs)
    ]


def poisons(loops: int) -> list[Poison]:
    """Return the poisoned loops: ``loops`` where they are cheap, fewer through ``judge``."""
    few, through_judge = max(150, loops // 10), missing_verdicts(0.02, 0.5, 0.5)
    flipped = Matchup.of(0.9 * 0.8 + 0.1 * 0.2, 0.9 * 0.8 + 0.1 * 0.2)
    defended = {
        "the champion itself, 50 rounds": rounds_of(gates(50), Matchup.of(0.5, 0.5)),
        "worthless after every earned promotion": after_every_gain,
        "evaluator flips 20 % of verdicts": rounds_of(gates(), flipped),
        "evaluator loses 2 % of verdicts": through_judge,
        "verifier that always passes": rounds_of(gates(), Matchup(win=0.0, loss=0.0)),
        "broken candidate (NaN weights)": rounds_of(gates(), Matchup.of(0.5, 0.0)),
        "best of 10 on other seeds": chosen_on("fresh"),
        "challenger hides its losses": hidden_losses(against=True),
    }
    undefended = {
        "hidden losses, were missing pairs left out": hidden_losses(against=False),
        "best of 10 on the gate's own seeds": chosen_on("the same"),
        "50 stored starts behind 200 seeds": stored_starts(50),
        "challenger fools the verifier in 20 % of its failures": rounds_of(
            gates(), Matchup.of(0.5, 0.6)
        ),
    }
    return [
        Poison(
            name=name,
            promoted=draw,
            loops=few if draw is through_judge else loops,
            defended=name in defended,
        )
        for name, draw in (defended | undefended).items()
    ]


def measure_poisons(bench: Benchmark, loops: int) -> None:
    """Run the poisoned loops; only those the gate claims to defend against have a target."""
    for poison in bench.track(poisons(loops), "poisoned loops"):
        rng = generator(SEED, "poison", poison.name)
        share, interval = any_round(poison.promoted(poison.loops, rng))
        bench.add(
            Measurement(
                metric=f"{'' if poison.defended else 'NOT DEFENDED: '}{poison.name}",
                value=share,
                unit="of loops",
                interval=interval,
                n=poison.loops,
                compared_with="loops with a promotion; no challenger is better",
                target=BUDGET if poison.defended else "",
                holds=interval[1] <= CONFIG.alpha if poison.defended else None,
            )
        )


def measure_blocks(bench: Benchmark, loops: int) -> None:
    """Tell how often a world that loses verdicts blocks the gate, whatever the challenger."""
    for missing in bench.track((0.01, 0.10), "gates over a world that loses verdicts"):
        draw = missing_verdicts(missing, 0.1, 0.9, decision="blocked")
        blocked = draw(loops, generator(SEED, "blocked", str(missing)))
        count = int(blocked.sum())
        bench.add(
            Measurement(
                metric=f"blocked, 0.10 to 0.90, {missing:.0%} of verdicts lost",
                value=count / blocked.size,
                unit="of gates",
                interval=clopper_pearson(count, blocked.size),
                n=blocked.size,
                compared_with="the rest is promoted before too many are lost",
            )
        )


NOTES = (
    "Target of every loop claim: the upper end of the exact 95 % interval, not the value, is at "
    "most 0.05. 'exact' in the comparison is the same chance without sampling.",
    "Not defended, because the gate sees only outcomes: challengers chosen on the gate's own seeds "
    "(the loop never reuses one), a world with fewer starts than seeds (the scenario must draw "
    "starts afresh), a verifier that one side can fool (nothing but a better verifier helps).",
    "An always-passing verifier promotes nothing because every pair is a tie; it also hides every "
    "real gain.",
)


def main() -> None:
    with Benchmark("gate", "What the gate lets through and what it costs", seeds=(SEED,)) as bench:
        loops = 400 if bench.quick else 2000
        measure_errors(bench, loops)
        measure_power(bench, ["round 1", "round 10"] if bench.quick else list(STAGES))
        measure_refusals(bench)
        measure_poisons(bench, loops)
        measure_blocks(bench, 5 if bench.quick else 20)
        for note in NOTES:
            bench.note(note)


if __name__ == "__main__":
    main()
