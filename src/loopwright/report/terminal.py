"""The same report for a terminal: rich objects for the command line to print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loopwright.core.errors import UnknownName
from loopwright.report import wording
from loopwright.report.certificate import CertificateReport
from loopwright.report.rounds import Decision, GateReport, RoundReport, SuccessRate
from loopwright.report.run import RunReport, Standing

_STYLES: Mapping[Decision, tuple[str, str]] = {
    "genesis": ("◆", "default"),
    "promote": ("✓", "bold blue"),
    "refuse": ("✕", "red"),
    "blocked": ("■", "yellow"),
    "rollback": ("↩", "default"),
    "open": ("…", "dim"),
}
_BLOCKS = "▁▂▃▄▅▆▇█"
_BAR_CELLS = 24


def status_view(run: RunReport) -> RenderableType:
    """Return where a run stands: the result, its intervals, what was spent, the last decision."""
    ends = run.standings()
    lines: list[RenderableType] = [
        Text.assemble((run.title, "bold"), f"  {run.scenario}, recipe {run.recipe}"),
        Text(wording.verdict(run)),
        Text(),
    ]
    if ends:
        source = f"On {ends[1].measured_on}, with {ends[1].success.confidence:.0%} intervals."
        lines += [_standing_table(*ends), Text(source, "dim"), Text()]
    lines.append(_spending(run))
    lines += [Text(line) for line in wording.certificate_lines(run)]
    if run.rounds:
        last = run.rounds[-1]
        lines += [Text(), Text.assemble(f"Round {last.index}: ", _decision(last.decision))]
        if last.reason:
            lines.append(Text(wording.sentence(last.reason)))
    return Group(*lines)


def history_table(run: RunReport) -> Table:
    """Return one row per round: what was tried, what came of it, what it cost."""
    # Everything but the label fits 80 columns; the label takes what is left.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("tried", ratio=1, min_width=12)
    table.add_column("labels", justify="right", no_wrap=True)
    table.add_column("success", no_wrap=True)
    table.add_column("evidence", no_wrap=True)
    table.add_column("CPU", justify="right", no_wrap=True)
    table.add_column("decision", no_wrap=True)
    for turn in run.rounds:
        table.add_row(
            str(turn.index),
            Text(wording.capital(turn.label)),
            str(turn.labelled_demos),
            _rates(turn),
            _evidence_words(turn.gate),
            wording.seconds(turn.total_cpu_s),
            _decision(turn.decision, "first" if turn.decision == "genesis" else None),
        )
    return table


def explain_view(run: RunReport, index: int) -> RenderableType:
    """Return why one round ended as it did.

    Raises:
        UnknownName: The run has no such round.
    """
    turn = next((r for r in run.rounds if r.index == index), None)
    if turn is None:
        raise UnknownName("round", str(index), [str(r.index) for r in run.rounds])
    lines: list[RenderableType] = [
        Text.assemble((f"Round {turn.index}: {turn.label}  ", "bold"), _decision(turn.decision))
    ]
    if turn.reason:
        lines.append(Text(wording.sentence(turn.reason)))
    if turn.planted:
        lines.append(Text("The recipe planted this challenger to show the gate at work.", "dim"))
    lines += [Text(), _facts(turn)]
    if turn.gate:
        lines += [Text(), *_gate_lines(turn.gate)]
    if turn.certificate:
        lines += [Text(), *_certificate_lines(turn.certificate)]
    return Group(*lines)


def evidence_sparkline(gate: GateReport, width: int = 48) -> Text:
    """Return the evidence of a gate as one line of blocks, on a log scale up to its threshold.

    Args:
        gate: What to draw.
        width: Most cells to use; longer processes show the peak of each stretch.
    """
    values = [1.0, *gate.evidence]
    cells = min(width, len(values))
    stretches = [
        values[len(values) * i // cells : len(values) * (i + 1) // cells] for i in range(cells)
    ]
    low, high = math.log(0.1), math.log(gate.threshold)
    text = Text()
    for stretch in stretches:
        peak = max(stretch)
        if peak >= gate.threshold:
            text.append(_BLOCKS[-1], "bold blue")
            continue
        share = (math.log(max(peak, 0.1)) - low) / (high - low)
        # A full block is kept for evidence that suffices.
        text.append(_BLOCKS[int(share * (len(_BLOCKS) - 1))])
    return text


def _rates(turn: RoundReport) -> str:
    tried = wording.rate(turn.challenger_success)
    return f"{tried} vs {wording.rate(turn.champion_success)}" if turn.champion_success else tried


def _standing_table(first: Standing, last: Standing) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    rows = [("champion", last)]
    if first.digest != last.digest:
        rows = [("first champion", first), (f"champion since round {last.round}", last)]
    for label, standing in rows:
        success = standing.success
        counts = f"{success.successes} of {success.trials}, {wording.interval(success)}"
        table.add_row(
            label,
            Text(wording.rate(success), "bold"),
            _interval_bar(success),
            Text(counts, "dim"),
        )
    return table


def _interval_bar(success: SuccessRate) -> Text:
    """Draw 0 to 1 as a line, the interval thick, the rate as a dot."""
    low, high = (math.floor(x * (_BAR_CELLS - 1)) for x in (success.low, success.high))
    dot = round(success.rate * (_BAR_CELLS - 1))
    text = Text()
    for cell in range(_BAR_CELLS):
        if cell == dot:
            text.append("●", "bold blue")
        elif low <= cell <= high:
            text.append("━", "blue")
        else:
            text.append("─", "dim")
    return text


def _spending(run: RunReport) -> Table:
    demos = max((r.labelled_demos for r in run.rounds), default=0)
    budget = run.budget
    cpu_limit = wording.seconds(budget.cpu_s) if budget.cpu_s is not None else None
    spent = f"{run.alpha_spent:.2g}" if run.alpha_spent is not None else ""
    return pairs(
        [
            ("rounds", _of(str(len(run.turns)), budget.rounds)),
            ("labelled demonstrations", _of(str(demos), budget.labelled_demos)),
            ("CPU time", _of(wording.seconds(run.total_cpu_s), cpu_limit)),
            ("error budget", spent and f"{spent} of {budget.alpha:g} spent"),
        ]
    )


def _of(spent: str, limit: float | str | None) -> str:
    return f"{spent} of {limit}" if limit is not None else spent


def _facts(turn: RoundReport) -> Table:
    champion = wording.short(turn.champion_before)
    if turn.champion_after != turn.champion_before:
        champion = f"{champion} → {wording.short(turn.champion_after)}"
    stages = ", ".join(f"{name} {wording.seconds(s)}" for name, s in turn.cost_cpu_s.items())
    seeds = ", ".join(f"{s.split} {s.first}..{s.first + s.count - 1}" for s in turn.seeds)
    return pairs(
        [
            ("challenger", wording.short(turn.challenger)),
            ("champion", champion),
            ("data added", wording.added(turn.added) or "none"),
            ("labels so far", str(turn.labelled_demos)),
            ("CPU time", f"{wording.seconds(turn.total_cpu_s)} ({stages})" if stages else ""),
            ("seeds", seeds),
        ]
    )


def _gate_lines(gate: GateReport) -> Sequence[RenderableType]:
    rows = []
    if gate.challenger:
        rows.append(
            ("challenger", f"{wording.rate(gate.challenger)}  {_measured(gate.challenger)}")
        )
    if gate.champion:
        rows.append(("champion", f"{wording.rate(gate.champion)}  {_measured(gate.champion)}"))
    rows.append(("pairs", wording.gate_counts(gate)))
    rows.append(("seeds", wording.gate_freshness(gate)))
    rows.append(("evidence", evidence_sparkline(gate)))
    rows += [
        ("check", f"{'✓' if c.held else '✕'} {c.name} {c.detail}".rstrip()) for c in gate.checks
    ]
    return [pairs(rows), Text(wording.gate_evidence(gate), "dim")]


def _certificate_lines(found: CertificateReport) -> Sequence[RenderableType]:
    until = f"{found.issued_utc[:10]} to {found.expires_utc[:10]}" if found.expires_utc else ""
    rows = [
        ("certificate", f"level {found.level}, {found.state}"),
        *((f"{'✓' if c.met else '✕'} claim", wording.claim_said(c)) for c in found.claims),
        ("signed", wording.signers(found)),
        ("valid", until),
        ("test plan", f"{found.plan[:16]}, attempt {found.attempt}, {found.episodes:,} episodes"),
    ]
    return [pairs(rows), Text("Evidence from simulation about exactly these files.", "dim")]


def _measured(success: SuccessRate) -> str:
    return f"({wording.measured(success)})"


def _evidence_words(gate: GateReport | None) -> str:
    if gate is None or not gate.evidence:
        return wording.DASH
    return f"{wording.evidence(gate.evidence[-1])} / {wording.evidence(gate.threshold)}"


def _decision(decision: Decision, word: str | None = None) -> Text:
    sign, style = _STYLES[decision]
    return Text(f"{sign} {word or wording.DECISION_WORDS[decision]}", style)


def pairs(rows: Sequence[tuple[str, str | Text]]) -> Table:
    """Return names and values under each other; a name without a value is left out."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in rows:
        if value:
            table.add_row(name, value if isinstance(value, Text) else Text(value))
    return table
