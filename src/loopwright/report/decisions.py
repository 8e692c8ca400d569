"""The decision table: what was tried, what the gate saw, what was decided, in words."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.report import figures, wording
from loopwright.report.layout import aside, badge, figure, grid, section, table
from loopwright.report.markup import Html, element, join
from loopwright.report.rounds import Decision, GateReport, RoundReport
from loopwright.report.run import RunReport

_DECISION_BADGES: dict[Decision, tuple[str, str]] = {
    "genesis": ("quiet", "◆"),
    "promote": ("good", "✓"),
    "refuse": ("bad", "✕"),
    "blocked": ("warn", "■"),
    "rollback": ("quiet", "↩"),
    "open": ("quiet", "…"),
}
_GATES_SHOWN = 6
"""More gate figures than this are folded away."""


def decisions(run: RunReport) -> Html | None:
    """What was tried, what the gate saw and what was decided, in words."""
    if not run.rounds:
        return None
    rows = [
        (
            element("strong", wording.round_number(r)),
            join(
                element("strong", wording.capital(r.label)),
                _planted_mark(r),
                aside(wording.added(r.added)),
            ),
            _rates_cell(r),
            _evidence_cell(r.gate),
            join(
                _decision_badge(r.decision),
                element("p", wording.sentence(r.reason) or wording.DASH),
                _checks(r),
            ),
        )
        for r in run.rounds
    ]
    rounds = table(("Round", "What was tried", "Success", "Evidence", "Decision"), rows, "wide")
    drawn = [
        figure(
            figures.gate_evidence(r.gate, r.index),
            f"Round {r.index}: {r.label}, {wording.DECISION_WORDS[r.decision]}.",
        )
        for r in run.rounds
        if r.gate
    ]
    drawn = [d for d in drawn if d]
    return section("decisions", "Decisions", _gate_rule(run), join(rounds, _folded(drawn)))


def _gate_rule(run: RunReport) -> str:
    rule = (
        "Champion and challenger meet on the same seeds. Each pair that only one of them solves "
        "moves the evidence; the challenger is promoted when it reaches the threshold, and not "
        "before."
    )
    if run.budget.alpha is None or run.alpha_spent is None:
        return rule
    return (
        f"{rule} Over all rounds together a worthless challenger gets through with a probability "
        f"of at most {run.budget.alpha:g}, of which {run.alpha_spent:.2g} is spent: a promotion "
        "hands on what its gate had."
    )


def _planted_mark(turn: RoundReport) -> Html | None:
    if not turn.planted:
        return None
    return join(" ", element("span", "planted on purpose", class_="tag"))


def _rates_cell(turn: RoundReport) -> Html:
    gate = turn.gate
    tried = turn.challenger_success
    if tried is None:
        return join(wording.DASH)
    rates = wording.rate(tried)
    if turn.champion_success:
        rates = f"{wording.rate(tried)} against {wording.rate(turn.champion_success)}"
    counts = (
        wording.gate_counts(gate) if gate else f"{tried.successes} of {tried.trials} in operation"
    )
    fresh = wording.gate_freshness(gate) if gate else ""
    return join(element("span", rates, class_="number"), aside(counts), aside(fresh))


def _evidence_cell(gate: GateReport | None) -> Html:
    if gate is None:
        return join(wording.DASH)
    reached = wording.evidence(gate.evidence[-1]) if gate.evidence else wording.DASH
    needed = f"{wording.evidence(gate.threshold)} needed"
    return join(
        element("span", reached, class_="number"),
        aside(needed),
        aside(f"alpha {gate.alpha:.2g}"),
    )


def _checks(turn: RoundReport) -> Html | None:
    checks = turn.gate.checks if turn.gate else ()
    if not checks:
        return None
    lines = [
        element("li", f"{'✓' if c.held else '✕'} {c.name}" + (f": {c.detail}" if c.detail else ""))
        for c in checks
    ]
    return element("ul", *lines, class_="checks")


def _folded(drawn: Sequence[Html]) -> Html | None:
    if len(drawn) <= _GATES_SHOWN:
        return grid(drawn, "grid three")
    return join(
        grid(drawn[:_GATES_SHOWN], "grid three"),
        element(
            "details",
            element("summary", wording.count(len(drawn) - _GATES_SHOWN, "more gate")),
            grid(drawn[_GATES_SHOWN:], "grid three"),
        ),
    )


def _decision_badge(decision: Decision) -> Html:
    tone, sign = _DECISION_BADGES[decision]
    return badge(tone, sign, wording.DECISION_WORDS[decision])
