"""``loopwright robot episodes``: what the fleet attempted, as data; what failed, as scenarios."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.fleet_door import DEFAULT_FOLDER, site_of

if TYPE_CHECKING:
    from loopwright.recipes.fleet_episodes import Made

_LOWEST_PRIORITY = 19


def main(
    *,
    folder: Path = DEFAULT_FOLDER,
    episodes: Path | None = None,
    again: str = "",
    aside: bool = False,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Make an episode of every attempt of a fleet, and a scenario of every one that failed.

    Attempts come from the journal, the log of the world and the black boxes, so that nothing is
    lost when the fleet was killed. What has been made already is listed, not made again.

    Args:
        folder: The fleet's folder; the fleet may run.
        episodes: The workspace they go to; FOLDER/episodes by default.
        again: A regression, by path: let that failed attempt happen again with the same commands,
            and tell whether it fails as it did.
        aside: Take only what processor time nobody else wants, and only what is new since the last
            time; no list is made of the rest.
        json_output: Print JSON.
    """
    if aside and hasattr(os, "nice"):
        os.nice(_LOWEST_PRIORITY)
    if again:
        return _repeat(Path(again), json_output=json_output)
    from loopwright.recipes.fleet_episodes import make_episodes
    from loopwright.store.workspace import Workspace

    site, console = site_of(folder), Console(stderr=True, highlight=False)
    made: list[dict[str, Any]] = []
    with Workspace.create(episodes or site.episodes, exclusive=True) as workspace:
        for one in make_episodes(site, workspace, only_new=aside):
            made.append(_plain(one))  # without the log of the world
            if one.is_new and not json_output:
                intent = one.attempt.intent
                console.print(f"{one.episode} {intent.robot} {intent.skill}: {one.verified}")
    if json_output:
        print(json.dumps(made, ensure_ascii=False))
    elif made:
        stdout_console().print(_table(made))
        console.print(f"regressions lie in {site.regressions}", soft_wrap=True)
    else:
        console.print("the fleet has attempted nothing yet")
    return 0


def _repeat(path: Path, *, json_output: bool) -> int:
    """Let a failed attempt happen again; 0 if it goes exactly as it did."""
    from loopwright.scenarios.warehouse.regression import repeat

    found = repeat(path)
    if json_output:
        print(json.dumps({**found.verdict.to_json(), "exact": found.exact}))
    else:
        how = "exactly as it did" if found.exact else "otherwise than it did"
        sys.stdout.write(f"{found.verdict.outcome}, {how}: {found.verdict.reason}\n")
    return 0 if found.exact else 1


def _table(made: list[dict[str, Any]]) -> Table:
    table = Table("episode", "robot", "skill", "seen", "verified", "regression", box=None)
    for one in made:
        values = " ".join(str(value) for value in one["values"].values())
        table.add_row(
            one["episode"][:12],
            one["robot"],
            escape(f"{one['skill']} {values}"),
            one["observed"],
            one["verified"] + (" (cut short)" if one["censored"] else ""),
            escape(Path(one["regression"]).name) if one["regression"] else "",
        )
    return table


def _plain(one: Made) -> dict[str, Any]:
    intent = one.attempt.intent
    return {
        "episode": one.episode,
        "scenario": one.scenario,
        "task": intent.task,
        "trace": one.attempt.task.trace,
        "intent": intent.id,
        "robot": intent.robot,
        "skill": intent.skill,
        "values": dict(intent.values),
        "observed": one.observed,
        "verified": one.verified,
        "censored": one.attempt.censored,
        "regression": str(one.regression) if one.regression else None,
    }
