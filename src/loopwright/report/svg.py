"""Matplotlib figures as small SVG strings that take on the colours of the page around them.

Colours are drawn as sentinel hex values and become CSS variables with a fallback, so one drawing
serves light and dark pages. Text stays text. Equal figures give equal bytes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH_IN = 4.9
"""Narrow enough that 10-point text stays readable when the figure fills a phone."""

# Sentinel, CSS variable, light value. Okabe and Ito's palette, darkened where it is used for
# thin lines on white; every pair differs in lightness too, so it survives a grey print.
_INK: Mapping[str, tuple[str, str, str]] = {
    "ink": ("#010101", "--ink", "#16191d"),
    "soft": ("#020202", "--soft", "#59636e"),
    "line": ("#030303", "--line", "#dfe3e7"),
    "paper": ("#fefefe", "--paper", "#ffffff"),
    "good": ("#040404", "--good", "#0b5fa5"),
    "bad": ("#050505", "--bad", "#b8430b"),
    "warn": ("#060606", "--warn", "#7d5c00"),
    "series0": ("#070701", "--series0", "#0b5fa5"),
    "series1": ("#070702", "--series1", "#c27400"),
    "series2": ("#070703", "--series2", "#12866a"),
    "series3": ("#070704", "--series3", "#a8468c"),
    "series4": ("#070705", "--series4", "#2f8fca"),
    "series5": ("#070706", "--series5", "#77808a"),
}
NUM_SERIES = 6


def ink(name: str) -> str:
    """Return the sentinel colour to draw with for a role (``"good"``, ``"series2"``)."""
    return _INK[name][0]


def series(index: int) -> str:
    """Return the sentinel colour of the n-th of several equal things."""
    return ink(f"series{index % NUM_SERIES}")


@contextmanager
def drawing(width_in: float = WIDTH_IN, height_in: float = 2.9) -> Iterator[Figure]:
    """Lend an empty figure in the house style; draw and call :func:`to_svg` inside.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "report", "drawing figures") from error
    with matplotlib.rc_context(_style()):
        yield Figure(figsize=(width_in, height_in), layout="constrained")


def _style() -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "loopwright",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "text.parse_math": False,
        "text.color": ink("ink"),
        "axes.edgecolor": ink("line"),
        "axes.facecolor": "none",
        "axes.labelcolor": ink("soft"),
        "axes.labelsize": 10,
        "axes.titlesize": 10,
        "axes.titlecolor": ink("ink"),
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": ink("line"),
        "grid.linewidth": 0.7,
        "figure.facecolor": "none",
        "legend.frameon": False,
        "legend.fontsize": 9.5,
        "legend.handlelength": 1.4,
        "legend.borderaxespad": 0.0,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
        "patch.linewidth": 0.0,
        "xtick.color": ink("line"),
        "ytick.color": ink("line"),
        "xtick.labelcolor": ink("soft"),
        "ytick.labelcolor": ink("soft"),
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "ytick.minor.size": 0,
        "xtick.minor.size": 0,
    }


def legend_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put a legend in rows above the axes, where it hides nothing and squeezes nothing."""
    if not handles:
        return
    # Matplotlib hides labels that begin with an underscore.
    shown = [label.lstrip("_") or "unnamed" for label in labels]
    width_pt = sum(30 + 5.4 * len(label) for label in shown)
    rows = math.ceil(width_pt / (figure.get_figwidth() * 72))
    figure.legend(
        handles,
        shown,
        loc="outside upper left",
        ncol=math.ceil(len(shown) / rows),
        columnspacing=1.3,
        handletextpad=0.5,
    )


def to_svg(figure: Figure, *, name: str, title: str) -> str:
    """Return ``figure`` as one ``<svg>`` element.

    Args:
        figure: Drawn inside :func:`drawing`.
        name: Prefix of every id, unique in the page.
        title: What the figure shows, for people who cannot see it.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Only measured here: the reader's browser has a font for every script.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = _own_ids(_slim(buffer.getvalue()), name)
    for sentinel, variable, light in _INK.values():
        svg = svg.replace(f": {sentinel}", f": var({variable}, {light})")
    opening = (
        f'<svg class="figure" role="img" aria-label="{escape(title, quote=True)}" '
        'stroke-linejoin="round" '
    )
    return svg.replace("<svg ", opening, 1)


def _slim(svg: str) -> str:
    """Drop what a page does not need: prolog, metadata, global style, empty digits and groups."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    # matplotlib names the fonts of this machine; the page has its own.
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans, sans-serif)", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", svg)
    svg = re.sub(r'(?<= [dxy]=")[^"]*', _rounded, svg)
    return re.sub(r">\s+<", ">\n<", re.sub(r"<g/>", "", svg))


def _rounded(match: re.Match[str]) -> str:
    """Round coordinates to hundredths of a point, which no screen can show."""
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", " ".join(match[0].split()))


def _own_ids(svg: str, name: str) -> str:
    """Prefix ids that something refers to, drop the rest: pages hold many figures."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", svg))

    def rename(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]+)"', rename, svg)
    return re.sub(r"(url\(#|href=\"#)", rf"\g<1>{name}-", svg)
