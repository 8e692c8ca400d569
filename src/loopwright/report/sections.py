"""The sections of a page, each a function from the run to markup, or None when it has nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from loopwright.core.episode import Outcome
from loopwright.report import figures, wording
from loopwright.report.film import encode_png
from loopwright.report.markup import Child, Html, data_url, element, join
from loopwright.report.pictures import Film, FilmPair, Imagination
from loopwright.report.rounds import Curve, Decision, GateReport, RoundReport, SuccessRate
from loopwright.report.run import LineageNode, RunReport, Standing

_OUTCOME_BADGES: dict[Outcome, tuple[str, str]] = {
    "success": ("good", "✓"),
    "failure": ("bad", "✕"),
    "unknown": ("warn", "?"),
}
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


def hero(run: RunReport) -> Html:
    """The result first: two rates and their intervals, then what they cost."""
    ends = run.standings()
    day = (run.finished_utc or run.started_utc)[:10]
    eyebrow = join(*filter(None, ("Loopwright", run.title, day)), between=" · ")
    if ends is None:
        headline: Child = element("h1", run.title)
        bars = None
    else:
        first, last = ends
        headline = element(
            "h1",
            _headline_rates(first, last),
            element("span", f" on {run.scenario}", class_="where"),
        )
        bars = _standing_bars(first, last)
    return element(
        "header",
        element("p", eyebrow, class_="eyebrow"),
        headline,
        element("p", wording.verdict(run), class_="lede"),
        bars,
        _facts(run),
        class_="hero",
    )


def _headline_rates(first: Standing, last: Standing) -> Html:
    if first.digest == last.digest:
        return element("span", wording.rate(last.success), class_="rate")
    return join(
        element("span", wording.rate(first.success), class_="rate from"),
        element("span", " → ", class_="arrow", aria_label=" to "),
        element("span", wording.rate(last.success), class_="rate"),
    )


def _standing_bars(first: Standing, last: Standing) -> Html:
    rows = [("Champion", last)]
    if first.digest != last.digest:
        rows = [("First champion", first), (f"Champion since round {last.round}", last)]
    bars = [
        element(
            "div",
            element("dt", label),
            element(
                "dd",
                _bar(s.success, "now" if s is last else "then"),
                element("span", wording.measured(s.success)),
            ),
        )
        for label, s in rows
    ]
    source = f"Success rate on {last.measured_on}; the band is the interval."
    return join(element("dl", *bars, class_="bars"), element("p", source, class_="small"))


def _bar(success: SuccessRate, tone: str) -> Html:
    """A line from 0 to 1 with the interval as a band and the rate as a dot."""
    band = f"left:{success.low:.1%};width:{success.high - success.low:.1%}"
    return element(
        "span",
        element("i", class_="band", style=band),
        element("i", class_="dot", style=f"left:{success.rate:.1%}"),
        class_=f"bar {tone}",
        aria_hidden="true",
    )


def _facts(run: RunReport) -> Html:
    budget = run.budget
    demos = max((r.labelled_demos for r in run.rounds), default=0)
    promoted = sum(r.decision == "promote" for r in run.rounds)
    facts = [
        ("Instruction", f"“{run.instruction}”", ""),
        ("Labelled demonstrations", str(demos), _of(budget.labelled_demos)),
        ("Rounds", str(len(run.rounds)), wording.count(promoted, "promotion")),
        ("CPU time", wording.seconds(run.total_cpu_s), _of_seconds(budget.cpu_s)),
    ]
    cells = [
        element("div", element("dt", name), element("dd", value, _aside(aside)))
        for name, value, aside in facts
    ]
    return element("dl", *cells, class_="facts")


def _of(limit: int | None) -> str:
    return f"of {limit} allowed" if limit is not None else ""


def _of_seconds(limit: float | None) -> str:
    return f"of {wording.seconds(limit)} allowed" if limit is not None else ""


def _aside(text: str) -> Html | None:
    return element("small", text) if text else None


def films(run: RunReport) -> Html | None:
    """Before and after, side by side on the same seeds."""
    if not run.films:
        return None
    columns = "grid three" if len(run.films) % 3 == 0 else "grid"
    pairs = element("div", *map(_film_pair, run.films), class_=columns)
    lead = "The same starts, acted by the first champion and by the champion now."
    return _section("films", "Before and after", lead, pairs)


def _film_pair(pair: FilmPair) -> Html:
    words = ". ".join(filter(None, (pair.caption, f"Seed {pair.seed}"))) + "."
    return element(
        "figure",
        element("div", _film(pair.before, pair.seed), _film(pair.after, pair.seed), class_="pair"),
        element("figcaption", words),
    )


def _film(film: Film | None, seed: int) -> Html:
    data = film.read() if film else None
    if film is None or data is None:
        return element("div", element("p", "No film was kept."), class_="film missing")
    tone, sign = _OUTCOME_BADGES[film.outcome]
    words = f"{film.label} at seed {seed}: {film.outcome}. {film.caption}".strip()
    return element(
        "div",
        element(
            "video",
            src=data_url("video/mp4", data),
            aria_label=words,
            autoplay=True,
            muted=True,
            loop=True,
            playsinline=True,
        ),
        _badge(tone, sign, film.outcome),
        element("p", wording.capital(film.label), _aside(film.caption)),
        class_="film",
    )


def success(run: RunReport) -> Html | None:
    """Success per round, against labels, and over the operating domain."""
    drawn = [
        _figure(
            figures.success_by_round(run.rounds),
            "Every challenger beside the champion it met, on the same seeds; the first champion "
            "alone, in operation. Lines are exact intervals.",
        ),
        _figure(
            figures.success_by_labels(run.rounds),
            "What each champion needed: a step up without a step right was learned "
            "without new labels.",
        ),
        _figure(
            figures.domain_map(run.domain_map) if run.domain_map else None,
            "Where in the operating domain the policy succeeds.",
        ),
    ]
    body = _grid([*drawn, _sealed(run)])
    return _section("success", "Success, round by round", None, body) if body else None


def _sealed(run: RunReport) -> Html | None:
    if not run.sealed:
        return None
    rows = [
        (
            wording.capital(s.label),
            wording.rate(s.success),
            wording.measured(s.success),
            str(s.uses),
        )
        for s in run.sealed
    ]
    return element(
        "div",
        element("h3", "On sealed seeds"),
        element(
            "p",
            "No decision ever looked at these starts, and every use of them is counted.",
            class_="lead",
        ),
        _table(("Policy", "Success", "Measured", "Uses"), rows, "numbers"),
    )


def decisions(run: RunReport) -> Html | None:
    """What was tried, what the gate saw and what was decided, in words."""
    if not run.rounds:
        return None
    rows = [
        (
            element("strong", str(r.index)),
            join(
                element("strong", wording.capital(r.label)),
                _planted_mark(r),
                _aside(wording.added(r.added)),
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
    table = _table(("Round", "What was tried", "Success", "Evidence", "Decision"), rows, "wide")
    drawn = [
        _figure(
            figures.gate_evidence(r.gate, r.index),
            f"Round {r.index}: {r.label}, {wording.DECISION_WORDS[r.decision]}.",
        )
        for r in run.rounds
        if r.gate
    ]
    drawn = [d for d in drawn if d]
    return _section("decisions", "Decisions", _gate_rule(run), join(table, _folded(drawn)))


def _gate_rule(run: RunReport) -> str:
    rule = (
        "Champion and challenger meet on the same seeds. Each pair that only one of them solves "
        "moves the evidence; the challenger is promoted when it reaches the threshold, and not "
        "before."
    )
    if run.budget.alpha is None:
        return rule
    return (
        f"{rule} Over all rounds together a worthless challenger gets through with a probability "
        f"of at most {run.budget.alpha:g}, of which {run.alpha_spent:.2g} is spent."
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
    counts = wording.gate_counts(gate) if gate else f"{tried.successes} of {tried.trials}"
    return join(element("span", rates, class_="number"), _aside(counts))


def _evidence_cell(gate: GateReport | None) -> Html:
    if gate is None:
        return join(wording.DASH)
    reached = wording.evidence(gate.evidence[-1]) if gate.evidence else wording.DASH
    needed = f"{wording.evidence(gate.threshold)} needed"
    return join(
        element("span", reached, class_="number"),
        _aside(needed),
        _aside(f"alpha {gate.alpha:.2g}"),
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
        return _grid(drawn, "grid three")
    return join(
        _grid(drawn[:_GATES_SHOWN], "grid three"),
        element(
            "details",
            element("summary", wording.count(len(drawn) - _GATES_SHOWN, "more gate")),
            _grid(drawn[_GATES_SHOWN:], "grid three"),
        ),
    )


def imagination(run: RunReport) -> Html | None:
    """What the model expected to see, beside what came."""
    if not run.imaginations:
        return None
    lead = "Above, what the camera saw. Below, what the model had predicted it would see."
    strips = join(*map(_imagination_strip, run.imaginations))
    return _section("imagination", "Imagined and real", lead, strips)


def _imagination_strip(seen: Imagination) -> Html:
    times = [f"+{t:g} s" for t in seen.ahead_s] or [
        f"moment {i + 1}" for i in range(len(seen.real))
    ]
    cells = [
        element(
            "div",
            _frame("real", real, time, named=index == 0),
            _frame("imagined", dream, time, named=index == 0),
            element("p", time),
        )
        for index, (time, real, dream) in enumerate(
            zip(times, seen.real, seen.imagined, strict=True)
        )
    ]
    widest = f"max-width:{8.2 * len(cells):g}rem"
    caption = element("figcaption", seen.caption) if seen.caption else None
    return element("figure", element("div", *cells, class_="strip", style=widest), caption)


def _frame(kind: str, pixels: np.ndarray, time: str, *, named: bool) -> Html:
    image = element("img", src=data_url("image/png", encode_png(pixels)), alt=f"{kind}, {time}")
    return element("div", image, element("span", kind) if named else None, class_="frame")


def learning(run: RunReport) -> Html | None:
    """One figure per trained quantity, one line per round."""
    by_name: dict[str, list[tuple[str, Curve]]] = {}
    for turn in run.rounds:
        for curve in turn.curves:
            by_name.setdefault(curve.name, []).append((f"round {turn.index}", curve))
    drawn = [
        _figure(
            figures.learning_curves(
                curves, name=f"learning-{index}", title=name, unit=curves[0][1].unit
            ),
            None,
        )
        for index, (name, curves) in enumerate(by_name.items())
    ]
    body = _grid(drawn)
    lead = "Long curves are running means, with single steps faintly behind them."
    return _section("learning", "Learning curves", lead, body) if body else None


def data(run: RunReport) -> Html | None:
    """What each round learned from, and how candidates descend from data."""
    kinds = list(dict.fromkeys(k for r in run.rounds for k, n in r.added.items() if n))
    if not kinds and not run.lineage:
        return None
    heads = ["Round", *(kind.capitalize() for kind in kinds)]
    rows = [
        (
            element("strong", str(r.index)),
            *(f"+{r.added[k]}" if r.added.get(k) else wording.DASH for k in kinds),
            str(r.labelled_demos),
        )
        for r in run.rounds
    ]
    table = _table((*heads, "Labels so far"), rows, "numbers") if kinds else None
    lead = "Episodes added by kind. No action of a video ever reaches training."
    return _section("data", "Data and lineage", lead, join(table, _lineage(run.lineage)))


def _lineage(nodes: Sequence[LineageNode]) -> Html | None:
    if not nodes:
        return None
    rounds = dict.fromkeys(sorted(n.round for n in nodes))
    rows = [
        element(
            "li",
            element("span", f"round {index}", class_="when"),
            element("div", *(_node(n) for n in nodes if n.round == index), class_="chain"),
            class_="crowned" if _crowned(nodes, index) else None,
        )
        for index in rounds
    ]
    return join(element("h3", "From data to champion"), element("ol", *rows, class_="lineage"))


def _crowned(nodes: Iterable[LineageNode], index: int) -> bool:
    return any(n.kind == "champion" and n.round == index for n in nodes)


def _node(node: LineageNode) -> Html:
    elders = [wording.short(p) for p in node.parents if p != node.digest]
    origin = _aside("from " + ", ".join(elders)) if elders else None
    return element(
        "div",
        element("span", node.kind, class_="kind"),
        element("span", node.label),
        element("code", wording.short(node.digest)),
        origin,
        class_=f"node {node.kind}",
    )


def costs(run: RunReport) -> Html | None:
    """Where the CPU-seconds went."""
    figure = _figure(figures.cost_by_round(run.rounds), "User and system CPU-seconds by stage.")
    if figure is None:
        return None
    stages: dict[str, float] = {}
    for turn in run.rounds:
        for stage, cpu_s in turn.cost_cpu_s.items():
            stages[stage] = stages.get(stage, 0.0) + cpu_s
    total = run.total_cpu_s
    rows = [(s, f"{cpu_s:,.1f}", f"{cpu_s / total:.0%}") for s, cpu_s in stages.items()]
    rows.append(("all stages", f"{total:,.1f}", "100%"))
    table = _table(("Stage", "CPU-seconds", "Share"), rows, "numbers")
    return _section("costs", "Costs", None, element("div", figure, table, class_="grid"))


def notes(run: RunReport) -> Html:
    """What a reader should know before believing the numbers."""
    lines = [*run.notes, *_standard_notes(run)]
    items = element("ul", *(element("li", line) for line in lines), class_="notes")
    return _section("notes", "Before you believe it", None, join(items, _seeds(run)))


def _standard_notes(run: RunReport) -> list[str]:
    lines = []
    ends = run.standings()
    if ends:
        rates = " and ".join(wording.measured(e.success) for e in dict.fromkeys(ends))
        lines.append(
            f"The headline: {rates}, on {ends[1].measured_on} of {run.scenario}. "
            "It says nothing about other scenarios, and nothing about a physical robot."
        )
        if ends[1].measured_on == "gate seeds":
            lines.append(
                "A gate stops as soon as it has seen enough, which favours whoever was ahead: "
                "rates from gates flatter the winner a little. The decision itself stays valid."
            )
    missing = sum(r.gate.missing for r in run.rounds if r.gate)
    if missing:
        lines.append(
            f"{wording.count(missing, 'trial')} ended without a verdict and "
            "counted neither for nor against."
        )
    if run.machine:
        words = ", ".join(f"{name} {value}" for name, value in run.machine.items())
        lines.append(f"Measured on: {words}.")
    return lines


def _seeds(run: RunReport) -> Html | None:
    rows = [
        (str(r.index), s.split, f"{s.first:,} to {s.first + s.count - 1:,}", s.purpose)
        for r in run.rounds
        for s in r.seeds
    ]
    if not rows:
        return None
    table = _table(("Round", "Split", "Seeds", "Used for"), rows)
    return element("details", element("summary", "Seeds used in each round"), table)


def reproduce(run: RunReport) -> Html:
    """The command and the digests that a second run must arrive at."""
    rows = [("Recipe", run.recipe), ("Scenario", run.scenario), ("Seed", str(run.seed))]
    rows += [("Started", run.started_utc), ("Finished", run.finished_utc or "still running")]
    ends = run.standings()
    digests = [(f"Champion of round {e.round}", e.digest) for e in dict.fromkeys(ends or ())]
    table = _table(
        None,
        [(k, v) for k, v in rows if v] + [(k, element("code", v)) for k, v in digests],
        "pairs",
    )
    command = element("pre", element("code", run.command), tabindex=0) if run.command else None
    lead = "The same command, code and libraries on the same kind of machine give the same digests."
    return _section("reproduce", "Do it again", lead if command else None, join(command, table))


SECTIONS: tuple[Callable[[RunReport], Html | None], ...] = (
    films,
    success,
    decisions,
    imagination,
    learning,
    data,
    costs,
    notes,
    reproduce,
)
"""In the order of the page."""


def _section(name: str, title: str, lead: str | None, body: Html | None) -> Html:
    return element(
        "section",
        element("h2", title, id=f"{name}-title"),
        element("p", lead, class_="lead") if lead else None,
        body,
        id=name,
        aria_labelledby=f"{name}-title",
    )


def _figure(svg: str | None, caption: str | None) -> Html | None:
    words = element("figcaption", caption) if caption else None
    return element("figure", Html(svg), words) if svg else None


def _grid(items: Sequence[Html | None], class_: str = "grid") -> Html | None:
    present = [item for item in items if item]
    return element("div", *present, class_=class_) if present else None


def _badge(tone: str, sign: str, words: str) -> Html:
    return element(
        "span", element("span", sign, aria_hidden="true"), f" {words}", class_=f"badge {tone}"
    )


def _decision_badge(decision: Decision) -> Html:
    tone, sign = _DECISION_BADGES[decision]
    return _badge(tone, sign, wording.DECISION_WORDS[decision])


def _table(
    heads: Sequence[str] | None, rows: Sequence[Sequence[Child]], class_: str | None = None
) -> Html:
    """A table whose cells carry their heading, so that a phone can stack them."""
    top = None
    if heads:
        cells = [element("th", head, scope="col") for head in heads]
        top = element("thead", element("tr", *cells))
    body = [
        element(
            "tr",
            *(
                element("td", cell, data_head=heads[column] if heads else None)
                for column, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    return element(
        "div", element("table", top, element("tbody", *body), class_=class_), class_="scroll"
    )
