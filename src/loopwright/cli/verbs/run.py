"""``loopwright run``: turn the loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import ProgressDisplay
from loopwright.compute.process import ProcessExecutor
from loopwright.core.errors import InvalidConfig
from loopwright.loop.engine import Engine
from loopwright.loop.rounds import Loop
from loopwright.loop.story import tell
from loopwright.recipes.registry import get_recipe
from loopwright.report.page import write_page
from loopwright.report.wording import verdict
from loopwright.store.workspace import Workspace


def main(
    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")],
    /,
    *,
    workspace: Path = Path("runs"),
    seed: int | None = None,
    rounds: int | None = None,
    parallel: int = 2,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Run a recipe's loop in a workspace; running it again goes on where it stopped.

    Args:
        recipe: A recipe's name ('loopwright list'), or a file 'path/to/recipe.py[:function]'.
        workspace: Folder that holds everything; it is made when missing.
        seed: Another draw of demonstrations, starts and initialisation than the recipe's.
        rounds: Stop after this round (0 makes the first champion only).
        parallel: Stages to run side by side, each on one CPU thread.
        json_output: Print the whole report as JSON on stdout.
    """
    config = get_recipe(recipe)
    if seed is not None:
        if not 0 <= seed < 50:
            raise InvalidConfig(f"seed is {seed}; expected 0 to 49")
        config = replace(config, seed=seed)
    if rounds is not None:
        if not 0 <= rounds <= len(config.rounds):
            raise InvalidConfig(
                f"rounds is {rounds}; recipe {recipe!r} plans 0 to {len(config.rounds)}"
            )
        config = replace(config, rounds=config.rounds[:rounds])
    with Workspace.create(workspace, exclusive=True) as place, ProgressDisplay() as display:
        engine = Engine(place, ProcessExecutor(), display=display, parallel=parallel)
        loop = Loop(config, engine)
        display.say(f"[bold]{config.name}[/] on {config.scenario}, run {loop.run_id}")
        loop.run()
        loop.end()
        command = f"loopwright run {recipe} --workspace {workspace} --seed {config.seed}"
        report = tell(place, place.ledger.run(loop.run_id), command=command)
        page = write_page(report, place.root / "reports" / f"{loop.run_id}.html")
    if json_output:
        print(json.dumps(report.to_json()))
    else:
        print(verdict(report))
        print(f"report: {page}")
    return 0
