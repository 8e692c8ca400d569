"""A scaling study as data, one figure and terminal tables.

Whoever fits the law hands it over as plain JSON; nothing here recomputes a statistic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loopwright.report import svg, wording
from loopwright.report.plain import from_plain, to_plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA_VERSION = 1

_PLANS_ABREAST = 2
"""More columns than this do not fit 80 characters."""
_NAMES: Mapping[str, tuple[str, str]] = {
    "E": ("E", "irreducible loss, nats a token"),
    "A": ("A", "weight of size"),
    "B": ("B", "weight of data"),
    "alpha": ("\N{GREEK SMALL LETTER ALPHA}", "exponent of size"),
    "beta": ("\N{GREEK SMALL LETTER BETA}", "exponent of data"),
    "size_exponent": ("a", "optimal size grows as compute to the a"),
    "data_exponent": ("b", "optimal data grows as compute to the b"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedEstimate:
    """An unknown of the law."""

    name: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedRun:
    """One run of the grid."""

    flops: float
    tokens: float
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeCurve:
    """All runs of one size, and the law's line through them."""

    label: str
    params: float
    runs: tuple[TrainedRun, ...]
    line_flops: tuple[float, ...]
    line_loss: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """The lowest loss that each amount of compute buys."""

    flops: tuple[float, ...]
    loss: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanReport:
    """The compute-optimal way to spend one budget."""

    budget_flops: float
    params: Estimate
    tokens: Estimate
    loss: Estimate
    tokens_per_param: Estimate
    compute_extrapolation: float
    """Budget over the dearest fitted run, at least 1."""
    iso_params: tuple[float, ...]
    iso_loss: tuple[float, ...]
    iso_low: tuple[float, ...]
    iso_high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldBackReport:
    """A run that the fit has not seen, beside its prediction."""

    label: str
    params: float
    tokens: float
    flops: float
    truth: float
    one_run: Estimate
    """Predicted, with the interval for a single run."""
    is_inside: bool
    extrapolation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DensityReport:
    """What a model is worth in parameters of the reference family."""

    label: str
    params: float
    loss: float
    reference_tokens: float
    effective_params: Estimate
    density: Estimate
    extrapolation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingReport:
    """Everything a page or a terminal shows of a scaling study."""

    title: str
    confidence: float
    noise: float
    """Standard deviation of a run about the law, in log loss."""
    estimates: tuple[NamedEstimate, ...]
    sizes: tuple[SizeCurve, ...]
    envelope: Envelope
    plans: tuple[PlanReport, ...] = ()
    held_back: tuple[HeldBackReport, ...] = ()
    densities: tuple[DensityReport, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must be told, as sentences."""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return to_plain(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScalingReport:
        """Read a study.

        Raises:
            DamagedData: The data are not those of a study.
        """
        return from_plain(cls, data, version=SCHEMA_VERSION)


def loss_by_compute(study: ScalingReport) -> str | None:
    """Draw loss against compute: runs and law of each size, the envelope, the plan, the check."""
    if not study.sizes:
        return None
    with svg.drawing(height_in=3.5) as figure:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        legend: dict[str, Any] = {}
        for index, size in enumerate(study.sizes):
            legend["runs and law, by parameters"] = _size_line(axes, size, svg.series(index))
        legend["best for its compute"] = _envelope(axes, study.envelope)
        for held in study.held_back:
            legend["held back"] = _held_back(axes, held)
        for planned in study.plans[:1]:
            legend["plan"] = _plan(axes, planned)
        _frame(axes, study)
        svg.legend_above(figure, list(legend.values()), list(legend))
        return svg.to_svg(figure, name="loss-by-compute", title=_words(study))


def scaling_view(study: ScalingReport) -> RenderableType:
    """Return the law, the plans, the check and what to be careful about, for a terminal."""
    lines: list[RenderableType] = [
        Text.assemble((study.title, "bold"), f"  {_extent(study)}"),
        Text(
            "L(N, D) = E + A / N^\N{GREEK SMALL LETTER ALPHA} + B / D^\N{GREEK SMALL LETTER BETA}"
        ),
        Text(),
        _estimate_table(study),
    ]
    for first in range(0, len(study.plans), _PLANS_ABREAST):
        lines += [Text(), _plan_table(study.plans[first : first + _PLANS_ABREAST])]
    if study.held_back:
        lines += [Text(), _held_back_table(study)]
    if study.densities:
        lines += [Text(), _density_table(study)]
    lines += [Text(), Text(_caution(study), "dim")]
    lines += [Text(f"! {note}", "yellow") for note in study.notes]
    return Group(*lines)


def amount(number: float) -> str:
    """Return a count with three digits and a letter: ``"1.3M"``, ``"70B"``, ``"2.1e+18"``."""
    if not math.isfinite(number):
        return "\N{INFINITY}"
    for limit, unit, letter in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "B")):
        if number < limit * 0.9995:
            return f"{number / unit:.3g}{letter}"
    return f"{number / 1e12:.3g}T" if number < 1e15 else f"{number:.2e}"


def _size_line(axes: Axes, size: SizeCurve, colour: str) -> Any:
    axes.plot(size.line_flops, size.line_loss, color=colour, linewidth=1.2, zorder=2)
    (dots,) = axes.plot(
        [run.flops for run in size.runs],
        [run.loss for run in size.runs],
        "o",
        color=colour,
        markersize=4.5,
        zorder=3,
    )
    axes.annotate(
        amount(size.params),
        (size.line_flops[-1], size.line_loss[-1]),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=9.5,
        color=colour,
    )
    return dots


def _envelope(axes: Axes, best: Envelope) -> Any:
    axes.fill_between(best.flops, best.low, best.high, color=svg.ink("line"), alpha=0.8, zorder=0)
    (line,) = axes.plot(best.flops, best.loss, color=svg.ink("ink"), dashes=(4, 2.5), zorder=4)
    return line


def _plan(axes: Axes, planned: PlanReport) -> Any:
    colour = svg.ink("bad")
    ends = planned.loss
    axes.vlines(planned.budget_flops, ends.low, ends.high, color=colour, linewidth=1.8, zorder=5)
    (mark,) = axes.plot(planned.budget_flops, ends.value, "D", color=colour, ms=7, zorder=6)
    # Below and left of the envelope no run can be: the words hide nothing there.
    axes.annotate(
        f"{amount(planned.params.value)} on {amount(planned.tokens.value)} tokens:\n"
        f"loss {ends.value:.3g} ({ends.low:.3g}{wording.DASH}{ends.high:.3g})",
        (planned.budget_flops, ends.low),
        xytext=(-14, 0),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=9.5,
        zorder=7,
    )
    return mark


def _held_back(axes: Axes, held: HeldBackReport) -> Any:
    """Draw the truth as a ring, and the interval that was predicted for it as a bar."""
    colour = svg.ink("ink")
    ends = held.one_run
    axes.vlines(held.flops, ends.low, ends.high, color=colour, linewidth=1.2, zorder=5)
    (ring,) = axes.plot(
        held.flops,
        held.truth,
        "o",
        color=colour,
        markerfacecolor=svg.ink("paper"),
        ms=6.5,
        zorder=6,
    )
    return ring


def _frame(axes: Axes, study: ScalingReport) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    losses = [run.loss for size in study.sizes for run in size.runs] + [
        h.truth for h in study.held_back
    ]
    lowest = min(losses + [p.loss.low for p in study.plans[:1]] + [min(study.envelope.loss)])
    axes.set_ylim(lowest * 0.96, max(losses) * 1.06)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power_of_ten(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training compute (FLOPs)")
    axes.set_ylabel("loss (nats a token)")


def _power_of_ten(value: float) -> str:
    power = str(round(math.log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}"


def _words(study: ScalingReport) -> str:
    """Return what the figure shows, for people who cannot see it."""
    words = f"Loss against training compute for {wording.count(len(study.sizes), 'size')}"
    for planned in study.plans[:1]:
        words += (
            f"; {planned.budget_flops:.2e} FLOPs are best spent on "
            f"{amount(planned.params.value)} parameters and {amount(planned.tokens.value)} tokens, "
            f"for a loss of {planned.loss.value:.3g}"
        )
    return words


def _caution(study: ScalingReport) -> str:
    return (
        f"{study.confidence:.0%} intervals, for runs like these; that the law keeps its form "
        "beyond the grid is assumed."
    )


def _extent(study: ScalingReport) -> str:
    runs = [run for size in study.sizes for run in size.runs]
    sizes, tokens = [s.params for s in study.sizes], [run.tokens for run in runs]
    return (
        f"{wording.count(len(runs), 'run')}, {amount(min(sizes))} to {amount(max(sizes))} "
        f"parameters, {amount(min(tokens))} to {amount(max(tokens))} tokens, "
        f"noise {study.noise:.1%}"
    )


def _table(*columns: str, words: int = 1) -> Table:
    """Return an empty table whose first columns are words and the others numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < words else "right", no_wrap=True)
    return table


def _estimate_table(study: ScalingReport) -> Table:
    table = _table("", "estimate", f"{study.confidence:.0%} interval", "")
    table.columns[3].justify = "left"
    for known in study.estimates:
        symbol, meaning = _NAMES.get(known.name, (known.name, ""))
        found = known.estimate
        table.add_row(
            symbol, Text(_number(found.value), "bold"), _range(found), Text(meaning, "dim")
        )
    return table


def _plan_table(plans: Sequence[PlanReport]) -> Table:
    """Return one column a budget: side by side they are compared."""
    table = _table("budget", *(f"{p.budget_flops:.3g} FLOPs" for p in plans))
    table.add_row("parameters", *(_counted(p.params) for p in plans))
    table.add_row("tokens", *(_counted(p.tokens) for p in plans))
    table.add_row("tokens a parameter", *(_counted(p.tokens_per_param) for p in plans))
    table.add_row("loss", *(_measured(p.loss) for p in plans))
    table.add_row("beyond the grid", *(_beyond(p.compute_extrapolation) for p in plans))
    return table


def _held_back_table(study: ScalingReport) -> Table:
    table = _table("held back", "tokens", "predicted", "truth", "error", "inside", "beyond")
    for held in study.held_back:
        error = held.one_run.value / held.truth - 1
        table.add_row(
            held.label or amount(held.params),
            amount(held.tokens),
            _measured(held.one_run),
            Text(f"{held.truth:.4g}", "bold"),
            f"{error:+.1%}".replace("-", "\N{MINUS SIGN}"),
            Text("✓ yes", "blue") if held.is_inside else Text("✕ no", "red"),
            _beyond(held.extrapolation),
        )
    return table


def _density_table(study: ScalingReport) -> Table:
    table = _table("model", "has", "is worth", "density", "at tokens", "beyond")
    for density in study.densities:
        table.add_row(
            density.label,
            amount(density.params),
            _counted(density.effective_params),
            _measured(density.density),
            amount(density.reference_tokens),
            _beyond(density.extrapolation),
        )
    return table


def _counted(found: Estimate) -> str:
    return f"{amount(found.value)} ({amount(found.low)}{wording.DASH}{amount(found.high)})"


def _measured(found: Estimate) -> str:
    return f"{_number(found.value)} ({_range(found)})"


def _range(found: Estimate) -> str:
    return f"{_number(found.low)}{wording.DASH}{_number(found.high)}"


def _number(value: float) -> str:
    """Return a number with three or four digits and, in the range of a law, no exponent."""
    if not math.isfinite(value):
        return "\N{INFINITY}"
    if value >= 1e6:
        return f"{value:.1e}"
    if value >= 1e3:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value >= 1e-3 else "0"


def _beyond(factor: float) -> Text:
    if factor <= 1:
        return Text("inside", "dim")
    words = f"{factor:,.0f}" if factor >= 100 else f"{factor:.2g}"
    return Text(f"{words}{wording.TIMES}", "yellow" if factor > 10 else "default")
