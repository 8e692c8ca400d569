"""The figures of a report: data in, one SVG string out.

Every figure returns None when there is nothing to draw. Blue with a disc means promoted, rust with
a cross refused, ochre with a square blocked: shape and words say it too, never colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loopwright.core.episode import Outcome
from loopwright.report import svg, wording
from loopwright.report.pictures import DomainMap, StartPoint
from loopwright.report.rounds import Curve, Decision, GateReport, RoundReport, SuccessRate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS: Mapping[Decision, tuple[str, str]] = {
    "genesis": ("D", "soft"),
    "promote": ("o", "good"),
    "refuse": ("X", "bad"),
    "blocked": ("s", "warn"),
    "rollback": ("<", "soft"),
    "open": ("o", "line"),
}
_OUTCOME_MARKS: Mapping[Outcome, tuple[str, str]] = {
    "success": ("o", "good"),
    "failure": ("x", "bad"),
    "unknown": ("s", "warn"),
}
_MAX_POINTS = 240
"""More points than this are one pixel apart or less."""


def success_by_round(rounds: Sequence[RoundReport]) -> str | None:
    """Draw the success of challenger and champion in every round, with their intervals."""
    if not any(r.challenger_success or r.champion_success for r in rounds):
        return None
    with svg.drawing() as figure:
        axes = figure.add_subplot()
        _success_axis(axes)
        crowded = len(rounds) > 12
        legend: dict[str, Any] = {}
        for turn in rounds:
            beside = 0.17 if turn.champion_success else 0.0
            if turn.champion_success:
                mark = _Mark(shape="o", role="soft", hollow=True, size=4.5 if crowded else 6)
                legend["champion"] = mark.draw(axes, turn.index - beside, turn.champion_success)
            if turn.challenger_success:
                shape, role = _MARKS[turn.decision]
                mark = _Mark(shape=shape, role=role, size=5 if crowded else 7)
                legend[wording.DECISION_WORDS[turn.decision]] = mark.draw(
                    axes, turn.index + beside, turn.challenger_success
                )
        axes.set_xlabel("round")
        axes.set_xticks([r.index for r in rounds if not crowded or r.index % 2 == 0])
        axes.set_xlim(min(r.index for r in rounds) - 0.6, max(r.index for r in rounds) + 0.6)
        svg.legend_above(figure, list(legend.values()), list(legend))
        return svg.to_svg(
            figure,
            name="success-by-round",
            title="Success rate per round with intervals: " + _success_words(rounds),
        )


def success_by_labels(rounds: Sequence[RoundReport]) -> str | None:
    """Draw the champion's success against the labelled demonstrations spent so far.

    None where all champions stand on equally many: a line straight up would show nothing.
    """
    points: list[tuple[int, SuccessRate, int]] = [
        (r.labelled_demos, r.challenger_success, r.index)
        for r in rounds
        if r.installs and r.challenger_success
    ]
    if len({demos for demos, _, _ in points}) < 2:
        return None
    with svg.drawing() as figure:
        axes = figure.add_subplot()
        _success_axis(axes)
        spent = [p[0] for p in points]
        rates = [p[1].rate for p in points]
        axes.plot(spent, rates, color=svg.ink("soft"), linewidth=1.0, dashes=(3, 3), zorder=1)
        for demos, success, _ in points:
            _Mark(shape="o", role="good").draw(axes, demos, success)
        for demos, height, words in _grouped(points):
            axes.annotate(
                words,
                (demos, height),
                xytext=(9, 0),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
                color=svg.ink("soft"),
            )
        axes.set_xlabel("labelled demonstrations spent")
        # Always from zero, and never so tight that one demonstration fills the axis.
        widest = max(*spent, *(r.labelled_demos for r in rounds), 6)
        axes.set_xlim(0, widest * 1.6)
        axes.locator_params(axis="x", integer=True, nbins=6)
        return svg.to_svg(
            figure,
            name="success-by-labels",
            title="Champion success against labelled demonstrations: "
            + ", ".join(f"{s.rate:.2f} with {d} (round {i})" for d, s, i in points),
        )


def gate_evidence(gate: GateReport, round_index: int) -> str | None:
    """Draw how the evidence of one gate grew, pair by pair, against its threshold."""
    if not gate.evidence:
        return None
    # Beyond a thousand times either way more evidence changes nothing, and would flatten the rest.
    values = np.clip([1.0, *gate.evidence], 1e-3, 1e3 * gate.threshold)
    pairs = np.arange(len(values))
    crossed = gate.evidence[-1] >= gate.threshold
    role = "good" if crossed else "bad"
    # Small, so that three stand in a row; a loop has many gates.
    with svg.drawing(width_in=3.9, height_in=2.3) as figure:
        axes = figure.add_subplot()
        axes.set_yscale("log")
        axes.axhline(1.0, color=svg.ink("line"), linewidth=1.0, zorder=1)
        axes.axhline(gate.threshold, color=svg.ink("ink"), linewidth=1.1, dashes=(4, 3), zorder=1)
        axes.plot(pairs, values, color=svg.ink(role), drawstyle="steps-post", zorder=3)
        axes.plot(
            pairs[-1], values[-1], "o" if crossed else "X", color=svg.ink(role), ms=8, zorder=4
        )
        limit = gate.max_pairs or len(gate.evidence)
        axes.set_xlim(0, max(limit, len(gate.evidence)) * 1.04)
        axes.set_ylim(
            min(0.3, float(values.min()) / 2), max(gate.threshold, float(values.max())) * 5
        )
        axes.annotate(
            f"promote at {wording.evidence(gate.threshold)}",
            (1.0, gate.threshold),
            xycoords=("axes fraction", "data"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            fontsize=9.5,
        )
        axes.set_xlabel("pairs of trials")
        axes.set_ylabel("evidence (e-value)")
        _plain_decades(axes)
        return svg.to_svg(
            figure,
            name=f"gate-{round_index}",
            title=f"Evidence of round {round_index} on a log scale. {wording.gate_evidence(gate)}",
        )


def learning_curves(
    curves: Sequence[tuple[str, Curve]], *, name: str, title: str, unit: str = ""
) -> str | None:
    """Draw one quantity over training steps, one line per label.

    Args:
        curves: Label and curve, in order.
        name: Id of the figure.
        title: What is drawn; also the label of the vertical axis.
        unit: Unit of the values.
    """
    drawn = [(label, c) for label, c in curves if np.isfinite(c.values).any()]
    if not drawn:
        return None
    with svg.drawing(height_in=2.5) as figure:
        axes = figure.add_subplot()
        few = len(drawn) <= svg.NUM_SERIES
        lines = [
            _learning_line(axes, curve, svg.series(index) if few else svg.ink("line"), noise=few)
            for index, (_, curve) in enumerate(drawn)
        ]
        if not few:
            lines[-1].set(color=svg.ink("good"), zorder=3)
        values = np.concatenate([c.values for _, c in drawn])
        values = values[np.isfinite(values)]
        if values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log")
            _plain_decades(axes)
        axes.set_xlabel("training step")
        axes.set_ylabel(_axis_label(title, unit))
        axes.margins(x=0.02)
        if len(drawn) > 1:
            names = [label for label, _ in drawn] if few else ["earlier", drawn[-1][0]]
            svg.legend_above(figure, lines if few else [lines[0], lines[-1]], names)
        words = "; ".join(f"{label} ends at {c.values[-1]:.3g}" for label, c in drawn if c.values)
        return svg.to_svg(figure, name=name, title=f"{title} over training steps: {words}")


def cost_by_round(rounds: Sequence[RoundReport]) -> str | None:
    """Draw the CPU-seconds of every round, stacked by stage."""
    paid = [r for r in rounds if r.total_cpu_s > 0]
    if not paid:
        return None
    stages = list(dict.fromkeys(stage for r in paid for stage in r.cost_cpu_s))
    rows = np.arange(len(paid))
    legend_rows = math.ceil(len(stages) / 4)
    with svg.drawing(height_in=0.75 + 0.22 * legend_rows + 0.3 * max(len(paid), 2)) as figure:
        axes = figure.add_subplot()
        axes.grid(axis="x")
        axes.grid(visible=False, axis="y")
        left = np.zeros(len(paid))
        handles: list[Any] = []
        for index, stage in enumerate(stages):
            width = np.array([r.cost_cpu_s.get(stage, 0.0) for r in paid])
            bars = axes.barh(rows, width, left=left, height=0.62, color=svg.series(index))
            handles.append(bars)
            left += width
        for row, total in zip(rows, left, strict=True):
            axes.annotate(
                f"{total:,.{0 if total >= 10 else 1}f} s",
                (total, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9.5,
            )
        axes.set_yticks(rows, [f"round {r.index}" for r in paid])
        axes.invert_yaxis()
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, left.max() * 1.16)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("CPU-seconds")
        svg.legend_above(figure, handles, stages)
        return svg.to_svg(
            figure,
            name="cost-by-round",
            title="CPU-seconds per round: "
            + ", ".join(f"round {r.index} {wording.seconds(r.total_cpu_s)}" for r in paid),
        )


def domain_map(domain: DomainMap) -> str | None:
    """Draw where in the operating domain the policy succeeds, before and after learning."""
    if not domain.points:
        return None
    with svg.drawing(height_in=2.75) as figure:
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        legend: dict[str, Any] = {}
        for axes, name, outcomes in (
            (panels[0], "before", [p.before for p in domain.points]),
            (panels[1], "after", [p.after for p in domain.points]),
        ):
            axes.grid(visible=False)
            if domain.covered:
                legend[domain.covered_label] = _covered(axes, domain.covered)
            legend |= _outcome_dots(axes, domain.points, outcomes)
            axes.set_title(f"{name}: {outcomes.count('success')} of {len(outcomes)}")
            axes.set_xlabel(_axis_label(domain.x_name, domain.unit))
            axes.locator_params(nbins=4)
            axes.spines[:].set_visible(True)
        panels[0].set_ylabel(_axis_label(domain.y_name, domain.unit))
        svg.legend_above(figure, list(legend.values()), list(legend))
        return svg.to_svg(
            figure,
            name="domain-map",
            title="Starts solved before and after learning, by position in the operating domain",
        )


def _success_axis(axes: Axes) -> None:
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_ylabel("success rate")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mark:
    """How a success rate and its interval look."""

    shape: str
    role: str
    hollow: bool = False
    size: float = 7

    def draw(self, axes: Axes, x: float, success: SuccessRate) -> Any:
        """Draw it and return the handle for a legend."""
        colour = svg.ink(self.role)
        thick = 1.1 if self.hollow else 1.8
        axes.vlines(x, success.low, success.high, color=colour, linewidth=thick, zorder=2)
        (handle,) = axes.plot(
            x,
            success.rate,
            self.shape,
            color=colour,
            markerfacecolor=svg.ink("paper") if self.hollow else colour,
            markersize=self.size,
            clip_on=False,
            zorder=3,
        )
        return handle


def _grouped(points: Sequence[tuple[int, SuccessRate, int]]) -> list[tuple[int, float, str]]:
    """Return labels for points, one for all that lie on top of each other."""
    groups: list[list[tuple[int, SuccessRate, int]]] = []
    for point in sorted(points, key=lambda p: (p[0], p[1].rate)):
        last = groups[-1][-1] if groups else None
        if last and last[0] == point[0] and point[1].rate - last[1].rate < 0.08:
            groups[-1].append(point)
        else:
            groups.append([point])
    return [
        (
            group[0][0],
            sum(p[1].rate for p in group) / len(group),
            ("rounds " if group[1:] else "round ") + ", ".join(str(p[2]) for p in sorted_group),
        )
        for group in groups
        for sorted_group in [sorted(group, key=lambda p: p[2])]
    ]


def _success_words(rounds: Iterable[RoundReport]) -> str:
    return "; ".join(
        f"round {r.index} {r.challenger_success.rate:.2f} {wording.DECISION_WORDS[r.decision]}"
        for r in rounds
        if r.challenger_success
    )


def _axis_label(name: str, unit: str) -> str:
    words = name.replace("_", " ")
    return f"{words} ({unit})" if unit else words


def _plain_decades(axes: Axes) -> None:
    """Label a log axis with plain numbers, and only where there is room."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.evidence(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _learning_line(axes: Axes, curve: Curve, colour: str, *, noise: bool) -> Any:
    """Draw a curve; of a long one the running mean, with the values faintly behind it."""
    steps, values = np.asarray(curve.steps, float), np.asarray(curve.values, float)
    if len(values) > 40:
        stride = max(1, len(values) // _MAX_POINTS)
        if noise:
            axes.plot(steps[::stride], values[::stride], color=colour, alpha=0.25, linewidth=0.9)
        window = max(3, len(values) // 25)
        values = np.convolve(values, np.ones(window) / window, mode="valid")[::stride]
        steps = steps[window // 2 :: stride][: len(values)]
    (line,) = axes.plot(steps, values, color=colour)
    return line


def _covered(axes: Axes, covered: tuple[float, float, float, float]) -> Any:
    from matplotlib.patches import Rectangle

    x_low, x_high, y_low, y_high = covered
    area = Rectangle((x_low, y_low), x_high - x_low, y_high - y_low, facecolor=svg.ink("line"))
    area.set(alpha=0.6, zorder=0)
    return axes.add_patch(area)


def _outcome_dots(
    axes: Axes, points: Sequence[StartPoint], outcomes: Sequence[str]
) -> dict[str, Any]:
    """Draw the starts by outcome and return a legend handle for each outcome that occurs."""
    handles: dict[str, Any] = {}
    for outcome, (shape, role) in _OUTCOME_MARKS.items():
        chosen = [p for p, o in zip(points, outcomes, strict=True) if o == outcome]
        if chosen:
            x, y = [p.x for p in chosen], [p.y for p in chosen]
            (handles[outcome],) = axes.plot(x, y, shape, color=svg.ink(role), markersize=5)
    return handles
