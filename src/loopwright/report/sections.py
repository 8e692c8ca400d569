"""The sections of a page, each a function from the run to markup, or None when it has nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from loopwright.core.episode import Outcome
from loopwright.report import figures, wording
from loopwright.report.certificates import certificates
from loopwright.report.decisions import decisions
from loopwright.report.film import encode_png
from loopwright.report.layout import aside, badge, figure, grid, section, table
from loopwright.report.markup import Child, Html, data_url, element, join
from loopwright.report.pictures import Film, FilmPair, Imagination
from loopwright.report.rounds import Curve, SuccessRate
from loopwright.report.run import LineageNode, RunReport, Standing

_OUTCOME_BADGES: dict[Outcome, tuple[str, str]] = {
    "success": ("good", "✓"),
    "failure": ("bad", "✕"),
    "unknown": ("warn", "?"),
}


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
        ("Rounds", str(len(run.turns)), wording.count(promoted, "promotion")),
        ("CPU time", wording.seconds(run.total_cpu_s), _of_seconds(budget.cpu_s)),
    ]
    cells = [
        element("div", element("dt", name), element("dd", value, aside(note)))
        for name, value, note in facts
    ]
    return element("dl", *cells, class_="facts")


def _of(limit: int | None) -> str:
    return f"of {limit} allowed" if limit is not None else ""


def _of_seconds(limit: float | None) -> str:
    return f"of {wording.seconds(limit)} allowed" if limit is not None else ""


def films(run: RunReport) -> Html | None:
    """Before and after, side by side on the same seeds."""
    if not run.films:
        return None
    columns = "grid three" if len(run.films) % 3 == 0 else "grid"
    pairs = element("div", *map(_film_pair, run.films), class_=columns)
    lead = "The same starts, acted by the first champion and by the champion now."
    return section("films", "Before and after", lead, pairs)


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
        badge(tone, sign, film.outcome),
        element("p", wording.capital(film.label), aside(film.caption)),
        class_="film",
    )


def success(run: RunReport) -> Html | None:
    """Success per round, against labels, and over the operating domain."""
    drawn = [
        figure(
            figures.success_by_round(run.turns),
            "Every challenger beside the champion it met, on the same starts; the first champion "
            "alone, in operation. Lines are 95 % intervals; those of gates hold although a gate "
            "stops when it has seen enough, which makes them wider.",
        ),
        figure(
            figures.success_by_labels(run.turns),
            "What each champion needed: a step up without a step right was learned "
            "without new labels.",
        ),
        figure(
            figures.domain_map(run.domain_map) if run.domain_map else None,
            "Where in the operating domain the policy succeeds.",
        ),
    ]
    body = grid([*drawn, _sealed(run)])
    lead = " ".join(filter(None, (wording.first_champion_places(run), wording.labels_spent(run))))
    return section("success", "Success, round by round", lead or None, body) if body else None


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
    worn = ""
    if max(s.uses for s in run.sealed) > 1:
        worn = " Who was chosen by what another use had shown looks better on them than it is."
    return element(
        "div",
        element("h3", "On sealed seeds"),
        element(
            "p",
            "No round of this run looked at these starts, and every use of them in this workspace "
            f"is counted, by other runs and evaluations too.{worn}",
            class_="lead",
        ),
        table(("Policy", "Success", "Measured", "Uses"), rows, "numbers"),
    )


def imagination(run: RunReport) -> Html | None:
    """What the model expected to see, beside what came."""
    if not run.imaginations:
        return None
    lead = "Above, what the camera saw. Below, what the model had predicted it would see."
    strips = join(*map(_imagination_strip, run.imaginations))
    return section("imagination", "Imagined and real", lead, strips)


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
        figure(
            figures.learning_curves(
                curves, name=f"learning-{index}", title=name, unit=curves[0][1].unit
            ),
            None,
        )
        for index, (name, curves) in enumerate(by_name.items())
    ]
    body = grid(drawn)
    lead = "Long curves are running means, with single steps faintly behind them."
    return section("learning", "Learning curves", lead, body) if body else None


def data(run: RunReport) -> Html | None:
    """What each round learned from, and how candidates descend from data."""
    kinds = list(dict.fromkeys(k for r in run.rounds for k, n in r.added.items() if n))
    if not kinds and not run.lineage:
        return None
    heads = ["Round", *(kind.capitalize() for kind in kinds)]
    rows = [
        (
            element("strong", wording.round_number(r)),
            *(f"+{r.added[k]}" if r.added.get(k) else wording.DASH for k in kinds),
            str(r.labelled_demos),
        )
        for r in run.rounds
    ]
    counts = table((*heads, "Labels so far"), rows, "numbers") if kinds else None
    lead = "Episodes added by kind. No action of a video ever reaches training."
    return section("data", "Data and lineage", lead, join(counts, _lineage(run.lineage)))


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
    origin = aside("from " + ", ".join(elders)) if elders else None
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
    bars = figure(figures.cost_by_round(run.rounds), "User and system CPU-seconds by stage.")
    if bars is None:
        return None
    stages: dict[str, float] = {}
    for turn in run.rounds:
        for stage, cpu_s in turn.cost_cpu_s.items():
            stages[stage] = stages.get(stage, 0.0) + cpu_s
    total = run.total_cpu_s
    rows = [(s, f"{cpu_s:,.1f}", f"{cpu_s / total:.0%}") for s, cpu_s in stages.items()]
    rows.append(("all stages", f"{total:,.1f}", "100%"))
    totals = table(("Stage", "CPU-seconds", "Share"), rows, "numbers")
    return section("costs", "Costs", None, grid([bars, totals]))


def notes(run: RunReport) -> Html:
    """What a reader should know before believing the numbers."""
    lines = [*run.notes, *_standard_notes(run)]
    items = element("ul", *(element("li", line) for line in lines), class_="notes")
    return section("notes", "Before you believe it", None, join(items, _seeds(run)))


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
                "rates from gates flatter the winner a little. Decisions and intervals stay valid."
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
    used = table(("Round", "Split", "Seeds", "Used for"), rows)
    return element("details", element("summary", "Seeds used in each round"), used)


def reproduce(run: RunReport) -> Html:
    """The command and the digests that a second run must arrive at."""
    rows = [("Recipe", run.recipe), ("Scenario", run.scenario), ("Seed", str(run.seed))]
    rows += [("Started", run.started_utc), ("Finished", run.finished_utc or "still running")]
    ends = run.standings()
    digests = [(f"Champion of round {e.round}", e.digest) for e in dict.fromkeys(ends or ())]
    facts = table(
        None,
        [(k, v) for k, v in rows if v] + [(k, element("code", v)) for k, v in digests],
        "pairs",
    )
    command = element("pre", element("code", run.command), tabindex=0) if run.command else None
    lead = "The same command, code and libraries on the same kind of machine give the same digests."
    return section("reproduce", "Do it again", lead if command else None, join(command, facts))


SECTIONS: tuple[Callable[[RunReport], Html | None], ...] = (
    films,
    success,
    decisions,
    certificates,
    imagination,
    learning,
    data,
    costs,
    notes,
    reproduce,
)
"""In the order of the page."""
