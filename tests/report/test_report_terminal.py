from dataclasses import replace

import pytest
from rich.console import Console, RenderableType
from synthetic_run import gate, genesis_round, long_run, synthetic_run

from loopwright.core.errors import UnknownName
from loopwright.report import wording
from loopwright.report.rounds import GateReport, RoundReport
from loopwright.report.run import RunReport
from loopwright.report.terminal import evidence_sparkline, explain_view, history_table, status_view

EMPTY = RunReport(title="Empty", scenario="s-v1", instruction="", recipe="demo", seed=0)


def shown(view: RenderableType, width: int = 80) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def test_status_says_result_source_spending_and_last_decision() -> None:
    text = shown(status_view(synthetic_run()))
    for words in (
        "Promoted in round 2; two challengers refused",
        "champion since round 2  0.97",
        "97 of 100",
        "On sealed seeds, with 95% intervals.",
        "8.2 min of 15.0 min",
        "Round 3: ✕ refused",
    ):
        assert words in text


def test_history_has_a_row_for_every_round_and_fits_80_columns() -> None:
    text = shown(history_table(long_run(20)))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for turn in long_run(20).rounds:
        assert any(line.split()[:1] == [str(turn.index)] for line in text.splitlines())
    assert "1.00 vs 0.08" in text


def test_explain_says_why() -> None:
    text = shown(explain_view(synthetic_run(), 2))
    for words in (
        "✓ promoted",
        "It solved 11 starts",
        "40 play episodes, 80 action-free videos",
        "11 won, 0 lost, 1 tied",
        "Evidence 86 after 12 pairs (80 needed).",
        "gate 100..149",
    ):
        assert words in " ".join(text.split())


def test_explain_of_no_such_round_names_the_rounds() -> None:
    with pytest.raises(UnknownName, match="round '9'"):
        explain_view(synthetic_run(), 9)


@pytest.mark.parametrize("run", [EMPTY, replace(EMPTY, rounds=(genesis_round(),))])
def test_runs_that_have_just_begun_are_shown(run: RunReport) -> None:
    assert "Empty" in shown(status_view(run))
    shown(history_table(run))


def test_square_brackets_are_text_not_styling() -> None:
    odd = "[bold]loud[/bold] [/nothing]"
    turn = RoundReport(index=0, label=odd, decision="refuse", reason=odd, added={odd: 1})
    run = replace(EMPTY, title=odd, scenario=odd, recipe=odd, rounds=(turn,))
    for view in (status_view(run), history_table(run), explain_view(run, 0)):
        assert odd in shown(view, width=200)


def test_the_sparkline_is_full_only_when_the_evidence_suffices() -> None:
    won, lost = gate(0.0, 1.0, seed=0, alpha=0.05), gate(0.5, 0.5, seed=0, alpha=0.05)
    assert evidence_sparkline(won).plain.endswith("█")
    assert "█" not in evidence_sparkline(lost).plain
    nearly = replace(lost, evidence=(19.999,), threshold=20.0)
    assert "█" not in evidence_sparkline(nearly).plain


@pytest.mark.parametrize("pairs", [0, 1, 47, 48, 1000])
def test_the_sparkline_never_outgrows_its_width(pairs: int) -> None:
    flat = GateReport(
        wins=0, losses=0, ties=pairs, evidence=(0.0,) * pairs, threshold=20.0, alpha=0.05
    )
    assert len(evidence_sparkline(flat, width=48).plain) == min(48, pairs + 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.031, "0.031"),
        (1.0, "1"),
        (85.4, "85"),
        (12_345.0, "12,345"),
        (1.24e7, f"1.2 {wording.TIMES} 10⁷"),
        (float("inf"), "∞"),
    ],
)
def test_evidence_is_said_in_few_digits(value: float, words: str) -> None:
    assert wording.evidence(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (73.4, "73 s"), (250, "4.2 min"), (9000, "2.5 h")]
)
def test_durations_are_said_in_few_digits(seconds: float, words: str) -> None:
    assert wording.seconds(seconds) == words


def test_the_verdict_counts_what_was_refused_and_planted() -> None:
    run = long_run(20)
    assert wording.verdict(run) == (
        "Promoted in rounds 2, 8 and 14; 15 challengers refused; "
        "one gate blocked by missing trials."
    )
    planted = replace(run, rounds=tuple(replace(r, planted=True) for r in run.rounds[:2]))
    assert wording.verdict(planted) == (
        "No challenger earned a promotion; one challenger refused, planted on purpose."
    )
    assert wording.verdict(replace(run, verdict="As given.")) == "As given."
