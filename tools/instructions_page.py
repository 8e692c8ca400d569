"""Write ``docs/results/instructions.md`` from the results of ``benchmarks/instructions``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HEAD = """# What becomes of written instructions

Written by `make results` from the result of `make bench NAME=instructions`, where the machine is.

Thirty instructions in English and Chinese, written down with what a person would expect of each
before the default planner was tried on them; and ten more, written after it was improved on the
thirty and tried once. A fleet of four simulated robots carries them out. The simulator's own state
judges: poses and touch, not the memory, not a robot's word, not a text (a refusal must also name
what it is about). *False success*: called succeeded and not so. *Wrongly obeyed*: something moved
although it should have been refused. *False refusal*: nothing moved although it could be done.
*Done again*: the guards stopped the robots, or the machine was too busy to plan or to measure.
"""
VERDICTS = (
    "right",
    "false success",
    "wrongly obeyed",
    "false refusal",
    "wrong reason",
    "honest failure",
    "stopped by overload",
)


def write_page(results: Path, page: Path) -> None:
    """Write the page, if there are results.

    Args:
        results: Folder of the result files.
        page: The page.
    """
    if not (results / "instructions.json").exists():
        return
    now = json.loads((results / "instructions.json").read_text())
    known = [r for r in now["details"] if r["list"] == "first"]
    rows = {
        "the thirty, as first tried": _rows(results / "instructions_first.json", "first"),
        "the thirty, after improvements, in one run": [_first_try(row) for row in known],
        "the thirty, after improvements": known,
        "ten more, tried once": [r for r in now["details"] if r["list"] == "held_out"],
    }
    parts = [HEAD, _summary(rows)]
    for title, found in list(rows.items())[2:]:
        parts += [f"## {title[0].upper()}{title[1:]}", _table(found)]
    parts += ["## Notes", "\n".join(f"- {note}" for note in now["notes"])]
    page.write_text("\n\n".join(parts) + "\n")


def _first_try(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as it was before it was done again for another reason than a stop."""
    if not row["earlier"]:
        return dict(row)
    return {**row, "verdict": row["earlier"].partition(":")[0], "earlier": ""}


def _rows(path: Path, name: str) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [r for r in json.loads(path.read_text())["details"] if r["list"] == name]


def _summary(lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    lines = [
        f"| | {' | '.join(VERDICTS[:-1])} | done again |",
        "|---" * (len(VERDICTS) + 1) + "|",
    ]
    for title, rows in lists.items():
        count = Counter(row["verdict"] for row in rows)
        figures = " | ".join(str(count[v]) for v in VERDICTS[:-1])
        again = sum(row["overloads"] + bool(row.get("earlier")) for row in rows)
        lines.append(f"| {title} | {figures} | {again} |")
    return "\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ("instruction", "expected", "planned", "executed", "reported", "truly", "s")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        acting = dict.fromkeys(step.split(":")[0].rpartition(" ")[2] for step in row["planned"])
        ok = sum("succeeded" in attempt for attempt in row["executed"])
        reported = row["reported"] + (f": {_short(row['reason'])}" if row["reason"] else "")
        cells = (
            row["text"],
            row["expected"],
            f"{len(row['planned'])} steps, {', '.join(acting)}" if acting else "",
            f"{ok} of {len(row['executed'])}" if row["executed"] else "",
            reported,
            row["verdict"],
            f"{row['seconds']:.0f}",
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _short(reason: str) -> str:
    return reason if len(reason) <= 110 else reason[:107] + "..."
