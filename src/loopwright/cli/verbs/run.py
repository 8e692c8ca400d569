"""``loopwright run``: turn the loop."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli import EXIT_WAITING
from loopwright.cli.display import ProgressDisplay
from loopwright.cli.site import SitePlace
from loopwright.compute.process import ProcessExecutor
from loopwright.core.errors import AwaitsApproval, InvalidConfig
from loopwright.loop.engine import Engine
from loopwright.loop.rounds import Loop
from loopwright.loop.signing import Signing
from loopwright.loop.story import tell
from loopwright.recipes.registry import get_recipe
from loopwright.report.page import write_page
from loopwright.report.wording import certificate_lines, verdict
from loopwright.store.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Proposer(SitePlace):
    """Who proposes certificates, and the register they go to; looked at with a key only."""

    key: Path | None = None
    """Private key of a proposer, for a recipe that promotes only with a certificate."""


def main(
    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")],
    /,
    *,
    workspace: Path = Path("runs"),
    seed: int | None = None,
    rounds: int | None = None,
    parallel: int = 2,
    proposer: Annotated[Proposer, tyro.conf.OmitArgPrefixes] = Proposer(),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Run a recipe's loop in a workspace; running it again goes on where it stopped.

    Args:
        recipe: A recipe's name ('loopwright list'), or a file 'path/to/recipe.py[:function]'.
        workspace: Folder that holds everything; it is made when missing.
        seed: Another draw of demonstrations, starts and initialisation than the recipe's.
        rounds: Stop after this round (0 makes the first champion only); the same command without it
            goes on with the same run. Sealed starts are looked at after the last round only.
        parallel: Stages to run side by side, each on one CPU thread.
        proposer: Who proposes certificates, and where they are registered. When everything is
            shown the loop waits for another person's signature (exit code 3).
        json_output: Print the whole report as JSON on stdout.
    """
    if parallel < 1:
        raise InvalidConfig(f"parallel is {parallel}; expected at least 1 stage at a time")
    config = get_recipe(recipe)
    if seed is not None:
        config = replace(config, seed=seed)
    if rounds is not None and not 0 <= rounds <= len(config.rounds):
        raise InvalidConfig(
            f"rounds is {rounds}; recipe {recipe!r} plans 0 to {len(config.rounds)}"
        )
    with Workspace.create(workspace, exclusive=True) as opened, ProgressDisplay() as display:
        if proposer.key is not None:
            _signing(proposer, proposer.key).keep(opened.root)
        engine = Engine(opened, ProcessExecutor(), display=display, parallel=parallel)
        loop = Loop(config, engine)
        display.say(f"[bold]{config.name}[/] on {config.scenario}, run {loop.run_id}")
        waits = _turn(loop, rounds)
        command = _command(recipe, workspace, config.seed, rounds)
        report = tell(opened, opened.ledger.run(loop.run_id), command=command)
        page = write_page(report, opened.root / "reports" / f"{loop.run_id}.html")
    if json_output:
        print(json.dumps(report.to_json()))
    else:
        print(verdict(report))
        for line in certificate_lines(report):
            print(line)
        print(f"report: {page}")
    if waits is None:
        return 0
    print(f"loopwright: {waits}", file=sys.stderr)
    return EXIT_WAITING


def _command(recipe: str, workspace: Path, seed: int, rounds: int | None) -> str:
    """Return what to type to come to the same run again; a shell reads it whatever the paths."""
    words = ["loopwright", "run", recipe, "--workspace", str(workspace), "--seed", str(seed)]
    return shlex.join(words if rounds is None else [*words, "--rounds", str(rounds)])


def _turn(loop: Loop, rounds: int | None) -> AwaitsApproval | None:
    """Turn a loop to its end, to the round it is to stop after, or to where it waits."""
    try:
        loop.run(stop_after=rounds)
    except AwaitsApproval as waits:
        return waits
    loop.end()
    return None


def _signing(place: Proposer, key: Path) -> Signing:
    return Signing(
        register=place.register.resolve(),
        ring=place.ring.resolve(),
        memory=place.own_memory.resolve(),
        proposer=key.resolve(),
    )
