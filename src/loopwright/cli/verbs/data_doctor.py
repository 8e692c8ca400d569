"""``loopwright data doctor``: what is wrong with recorded data, and what can be done about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from loopwright.cli.display import stdout_console
from loopwright.core.errors import WorkspaceError
from loopwright.core.stage import ProgressSink
from loopwright.store.doctor import Finding
from loopwright.store.doctor.examination import examine, is_workspace
from loopwright.store.doctor.lerobot import examine_lerobot, is_lerobot
from loopwright.store.doctor.repair import Repaired, repair

_MOST_OF_A_CHECK = 5
"""Findings of one check that are shown in full; a hundred alike say no more than five."""
_TITLES = {
    "damage": ("red", "DAMAGE", "bytes are not what was committed"),
    "suspicion": ("yellow", "SUSPICION", "they are, but something looks wrong"),
}


def main(
    path: Annotated[Path, tyro.conf.Positional] = Path("runs"),
    *,
    repair_it: Annotated[bool, tyro.conf.arg(name="repair")] = False,
    quick: bool = False,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Examine a workspace or a LeRobot dataset; exit with 1 if anything is wrong.

    Args:
        path: Folder of the workspace, or of a LeRobot dataset (v2.1 or v3).
        repair_it: Mend what can be mended safely; nothing is destroyed, damaged files are kept.
        quick: Leave out what takes time: digests of all files and decoding of all films.
        json_output: Print JSON instead of tables.
    """
    findings = list(_examined(path, deep=not quick))
    repaired: list[Repaired] = []
    if repair_it and findings:
        if not is_workspace(path):
            raise WorkspaceError(f"{path} is a dataset of others; only a workspace is repaired")
        repaired = repair(path, findings)
        left = list(_examined(path, deep=not quick))
    else:
        left = findings
    if json_output:
        said = {
            "findings": [asdict(each) for each in findings],
            "repaired": [asdict(each) for each in repaired],
            "left": [asdict(each) for each in left],
        }
        print(json.dumps(said if repair_it else {"findings": said["findings"]}))
    else:
        _print(stdout_console(), path, findings, repaired, left)
    return 1 if left else 0


def _examined(path: Path, *, deep: bool) -> Iterator[Finding]:
    with Progress(
        TextColumn("examining"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %  {task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=1.0)

        def show(fraction: float, message: str) -> None:
            bar.update(task, completed=fraction, description=message)

        yield from _findings(path, deep=deep, progress=show)


def _findings(path: Path, *, deep: bool, progress: ProgressSink) -> Iterator[Finding]:
    if is_workspace(path):
        return examine(path, deep=deep, progress=progress)
    if is_lerobot(path):
        return examine_lerobot(path, deep=deep, progress=progress)
    raise WorkspaceError(
        f"{path.resolve()} is neither a workspace (workspace.toml, episodes/) nor a LeRobot "
        "dataset (meta/info.json); name the folder: loopwright data doctor FOLDER"
    )


def _print(
    console: Console,
    path: Path,
    findings: Sequence[Finding],
    repaired: Sequence[Repaired],
    left: Sequence[Finding],
) -> None:
    if not findings:
        console.print(f"{_plain(str(path))}: healthy", markup=False)
        return
    _print_findings(console, findings)
    if repaired:
        console.print("\n[bold green]REPAIRED[/]")
        _print_repaired(console, repaired)
    if repaired and left:
        console.print(f"\n[bold]{_counted(left)} left after the repair[/]")
        _print_findings(console, left)
    elif repaired:
        console.print("\nhealthy now: nothing is left that a second look finds")
    else:
        console.print(_summary(findings), markup=False)


def _print_findings(console: Console, findings: Sequence[Finding]) -> None:
    for severity, (colour, title, meaning) in _TITLES.items():
        group = [finding for finding in findings if finding.severity == severity]
        if group:
            console.print(f"\n[bold {colour}]{title}[/]  {len(group)}: {meaning}")
        for check in sorted({finding.check for finding in group}):
            alike = [finding for finding in group if finding.check == check]
            console.print(f"\n  [{colour}]{check}[/]  {len(alike)}")
            console.print(_entries(alike))


def _entries(alike: Sequence[Finding]) -> Padding:
    """Return the first findings of one check, and what can be done about all of them."""
    text = Text(overflow="fold")
    for finding in alike[:_MOST_OF_A_CHECK]:
        text.append(f"{_plain(finding.where)}\n", style="bold")
        text.append(f"  {_plain(finding.message)}\n")
    if (others := len(alike) - _MOST_OF_A_CHECK) > 0:
        text.append(f"and {others} more of this kind (--json lists all)\n", style="italic")
    for proposed in sorted({finding.repair for finding in alike if finding.repair}):
        text.append(f"--repair would {_plain(proposed)}\n", style="dim")
    text.rstrip()
    return Padding(text, (0, 0, 0, 4))


def _print_repaired(console: Console, repaired: Sequence[Repaired]) -> None:
    text = Text(overflow="fold")
    for each in {(one.finding.where, one.done): one for one in repaired}.values():
        text.append(f"{_plain(each.finding.where)}\n", style="bold")
        text.append(f"  {_plain(each.done)}\n")
    text.rstrip()
    console.print(Padding(text, (0, 0, 0, 4)))


def _summary(findings: Sequence[Finding]) -> str:
    mendable = sum(finding.repair is not None for finding in findings)
    if mendable:
        advice = "Add --repair to do what is proposed; originals are kept."
    else:
        advice = "Leave out what is named, or record it again; --repair cannot mend it."
    return f"\n{_counted(findings)}, {mendable} can be repaired. {advice}"


def _counted(findings: Sequence[Finding]) -> str:
    return f"{len(findings)} finding{'s' if len(findings) != 1 else ''}"


def _plain(text: str) -> str:
    """Make control characters visible: a name in hostile data must not steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
