"""``loopwright scale``: small runs that tell what a large one will reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import stdout_console
from loopwright.cli.progress import progress_bar
from loopwright.core.errors import InvalidConfig
from loopwright.recipes.scaling import STUDY, get_study, run_study
from loopwright.report.scaling import ScalingReport, loss_by_compute, scaling_view
from loopwright.store.durable import write_text_file

FIGURE = "loss-by-compute.svg"


def main(
    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")],
    /,
    *,
    out: Path | None = None,
    budget_flops: tuple[float, ...] = (),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Train a grid of small models, fit their scaling law, and plan larger ones.

    One larger run is kept from the fit, and its prediction printed beside what came of it.
    Interrupted or killed, the same command goes on from the last finished run.

    Args:
        recipe: Name of a study ("wudao.scale", "rehearsal"), or a file path/to/recipe.py[:name].
        out: Folder for runs, law and figure; studies/RECIPE by default.
        budget_flops: Training compute to plan for; ten times the dearest run by default.
        json_output: Print JSON.
    """
    if any(not budget > 0 for budget in budget_flops):
        raise InvalidConfig(f"budget-flops is {budget_flops}; expected numbers above 0 like 1e18")
    study = get_study(recipe)
    folder = out or Path("studies") / study.name
    with progress_bar(study.name) as progress:
        found = run_study(study, folder, progress, budgets_flops=budget_flops)
    report = ScalingReport.from_json(found.report)
    if figure := loss_by_compute(report):
        write_text_file(folder / FIGURE, figure, "scaling_figure")
    if json_output:
        print(json.dumps({"folder": str(folder), **found.report}))
        return 0
    stdout_console().print(scaling_view(report))
    print(f"\n{folder / FIGURE}  the figure; runs and law in {folder / STUDY}")
    return 0
