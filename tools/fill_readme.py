"""Fill the results table of README.md, and docs/results/all.md, from ``benchmarks/results``.

The README shows the first target of each benchmark, in the order in which it measured them, and how
many hold; the page shows every target that was missed or is open as well. Runs with ``QUICK=1`` are
left out. Usage: ``python tools/fill_readme.py`` (or ``make readme``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks/results"
BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)
PAGE = ROOT / "docs/results/all.md"
PAGE_HEAD = """# Every benchmark

Written by `make readme` from the results of `make bench`: the first targets of each benchmark,
and every target that was missed, or that part of a 95 % interval misses. The JSON files in
`benchmarks/results` hold all that was measured, with the machine, the load and the versions.

"""
SHOWN = 2
"""Targets shown of each benchmark on the page, besides those it missed."""
NOTHING_YET = "No results yet: run a benchmark, then `make readme`."
HEAD = "| benchmark | what | measured | n | target | holds |\n|---|---|---|---|---|---|"


def filled(text: str, results: Path) -> str:
    """Return the README's text with its results block written anew.

    Raises:
        ValueError: The text has no results block, or more than one.
    """
    rows = list(_rows(results, first=1, missed=False, variants=False))
    block = "\n".join([HEAD, *rows]) if rows else NOTHING_YET
    new, count = BLOCK.subn(lambda match: f"{match[1]}{block}\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"README has {count} blocks '<!-- results -->'; expected one")
    return new


def page(results: Path) -> str:
    """Return the text of the page with all benchmarks."""
    rows = _rows(results, first=SHOWN, missed=True, variants=True)
    return PAGE_HEAD + "\n".join([HEAD, *rows]) + "\n"


def _rows(results: Path, *, first: int, missed: bool, variants: bool) -> Iterator[str]:
    paths = sorted(results.glob("*.json"))
    for path in paths:
        if not variants and any(path.stem.startswith(f"{other.stem}_") for other in paths):
            continue  # the same benchmark, run in another way
        result = json.loads(path.read_text())
        judged = [m for m in result["measurements"] if m["target"]]
        if result["quick"] or not judged:
            continue
        held = sum(bool(m["holds"]) for m in judged)
        label = f"`{result['name']}`, {held} of {len(judged)} targets hold"
        for index, measurement in enumerate(judged):
            is_doubtful = not measurement["holds"] or _is_open(measurement)
            if index < first or (missed and is_doubtful):
                yield _row(label, measurement)
                label = ""


def _row(label: str, measurement: dict[str, Any]) -> str:
    measured = f"{_figure(measurement['value'])} {measurement['unit']}"
    if measurement["interval"] is not None:
        low, high = measurement["interval"]
        measured += f" ({_figure(low)} to {_figure(high)})"
    if measurement["compared_with"]:
        measured += f"; {measurement['compared_with']}"
    holds = "yes" if measurement["holds"] else "**no**"
    if measurement["holds"] and _is_open(measurement):
        holds = "yes, not all of the interval"
    count = "" if measurement["n"] is None else f"{measurement['n']:,}"
    cells = [label, measurement["metric"], measured, count, measurement["target"]]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in [*cells, holds]) + " |"


def _is_open(measurement: dict[str, Any]) -> bool:
    """Tell whether the interval of a measured value reaches beyond its target."""
    sign, _, limit = measurement["target"].partition(" ")
    # A share of none or of all is as good as it can be, however few were counted.
    perfect = measurement["value"] in (0.0, 1.0)
    if measurement["interval"] is None or perfect or sign[:1] not in ("<", ">"):
        return False
    low, high = measurement["interval"]
    return high > float(limit) if sign[0] == "<" else low < float(limit)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    README.write_text(filled(README.read_text(), RESULTS))
    PAGE.write_text(page(RESULTS))
    print(f"{README.name} and {PAGE.name}: results written")
