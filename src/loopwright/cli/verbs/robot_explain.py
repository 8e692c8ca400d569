"""``loopwright robot explain``: one task from the spoken instruction to the joint commands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape

from loopwright.cli.display import stdout_console
from loopwright.cli.fleet_door import DEFAULT_FOLDER, journal_of, site_of
from loopwright.cli.fleet_words import standing, tone
from loopwright.core.errors import DamagedData
from loopwright.robot.fleet.flights import FlightPart, flight_parts
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.journal.account import Account, Line, account_of
from loopwright.robot.journal.fold import IntentState
from loopwright.robot.memory.witnesses import last_sightings
from loopwright.robot.wires.views import task_view

_AFTERWARDS_S = 1.0
"""What is seen so long after an attempt still tells how it ended."""


def main(
    task: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")],
    /,
    *,
    folder: Path = DEFAULT_FOLDER,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Tell everything that happened to a task, in order, with causes; the fleet need not run.

    How it was understood, what was planned, why which robot, what each attempt claimed and what
    was seen, stops and losses; and where in which black box its joint commands are.

    Args:
        task: Its id; 'loopwright robot tasks' lists them.
        folder: The fleet's folder.
        json_output: Print JSON.
    """
    site = site_of(folder)
    with journal_of(folder) as journal:
        account = account_of(journal.beside(task), task)
    evidence = {i.id: _evidence(site, i) for i in account.task.intents if i.ended_s is not None}
    if json_output:
        print(json.dumps(_plain(account, evidence), ensure_ascii=False))
    else:
        _show(stdout_console(), account, evidence)
    return 0


Evidence = tuple[list[str], list[FlightPart]]
"""Who saw what, in words; and where the joint commands are."""


def _evidence(site: FleetSite, intent: IntentState) -> Evidence:
    assert intent.ended_s is not None
    began_s, ended_s = intent.issued_s, intent.ended_s
    seen: list[str] = []
    for thing in dict.fromkeys((*map(str, intent.values.values()), intent.robot)):
        for sighting in last_sightings(
            site.memory, thing, from_s=began_s, until_s=ended_s + _AFTERWARDS_S
        ):
            assert sighting.pose is not None
            x, y, z = sighting.pose[:3]
            seen.append(
                f"{sighting.by} saw {thing} at ({x:.2f}, {y:.2f}, {z:.2f}) m, "
                f"±{200 * sighting.sigma_m:.1f} cm, {_clock(sighting.time_s)}"
            )
    try:
        return seen, flight_parts(site.flights, intent.robot, began_s, ended_s)
    except DamagedData as error:
        return [*seen, f"the black box cannot be read: {error}"], []


def _show(console: Console, account: Account, evidence: dict[str, Evidence]) -> None:
    task = task_view(account.task)
    console.print(f"[bold]{escape(task['instruction'])}[/]")
    because = f": {escape(task['reason'])}" if task["reason"] else ""
    console.print(f"{task['id']} [{tone(task)}]{standing(task)}[/]{because}")
    console.print(f"[dim]trace {task['trace']}[/]\n")
    for line in account.lines:
        _show_line(console, line, evidence)


def _show_line(console: Console, line: Line, evidence: dict[str, Evidence]) -> None:
    cause = f" [dim]because of {line.cause}[/]" if line.cause else ""
    head = f"[dim]{line.number:>4} {_clock(line.time_s)}[/]"
    console.print(f"{head}  {escape(line.says)}{cause}", soft_wrap=True)
    details = list(line.details)
    seen, parts = evidence.get(line.ended.id, ([], [])) if line.ended else ([], [])
    for text in (*details, *seen):
        console.print(f"{'':14} [dim]{escape(text)}[/]", soft_wrap=True)
    for part in parts:
        _show_part(console, part)


def _show_part(console: Console, part: FlightPart) -> None:
    altered = ", ".join(f"{name} {count}" for name, count in part.altered.items())
    console.print(
        f"{'':14} joint commands: {part.steps}, altered by the guard: {altered or 'none'}",
        soft_wrap=True,
    )
    numbers = " ".join(f"{value:+.3f}" for value in part.middle_applied)
    half = f"halfway, record {part.middle_record}: {numbers}"
    console.print(f"{'':14} [dim]{half}[/]", soft_wrap=True)
    records = f"{part.first_record}:{part.last_record}"
    path = _near(part.path)
    console.print(f"{'':14} loopwright blackbox show {path} --records {records}", soft_wrap=True)


def _near(path: Path) -> Path:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _plain(account: Account, evidence: dict[str, Evidence]) -> dict[str, Any]:
    lines = []
    for line in account.lines:
        seen, parts = evidence.get(line.ended.id, ([], [])) if line.ended else ([], [])
        flights = [part.to_json() for part in parts]
        lines.append({**line.to_json(), "seen": seen, "flights": flights})
    return {"task": task_view(account.task), "happened": lines}


def _clock(time_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(time_s))
