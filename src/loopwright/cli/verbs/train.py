"""``loopwright train``: train a model from a recipe, without a loop around it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.progress import progress_bar
from loopwright.recipes.launch import this_launch
from loopwright.recipes.registry import get_training
from loopwright.recipes.training import CANDIDATE, SCRATCH, run_training
from loopwright.train.mirrors import MirrorName, open_mirrors


def main(
    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")],
    /,
    *,
    out: Path | None = None,
    seed: int | None = None,
    mirror: tuple[MirrorName, ...] = (),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Train a model and print the digest of the candidate.

    Interrupted or killed, the same command goes on from its last checkpoint. Several processes
    train one model: torchrun --nproc-per-node 2 -m loopwright train RECIPE

    Args:
        recipe: Name of a training recipe ("wudao.tiny"), or a file path/to/recipe.py[:function].
        out: Folder for the candidate, checkpoints and metrics; models/RECIPE by default.
        seed: Another seed than the recipe's.
        mirror: Show metrics elsewhere too: in TensorBoard (files in OUT/tensorboard), or in MLflow
            (at MLFLOW_TRACKING_URI).
        json_output: Print JSON.
    """
    training = get_training(recipe)
    if seed is not None:
        training = replace(training, seed=seed)
    folder = out or Path("models") / training.name
    mirrors = open_mirrors(mirror, folder, experiment=training.name)
    with progress_bar(training.name) as progress:
        facts = run_training(training, folder, progress, mirrors=mirrors)
    if not this_launch().is_first:
        return 0
    if json_output:
        print(json.dumps({"candidate": facts["candidate"], "folder": str(folder), "facts": facts}))
    else:
        print(facts["candidate"])
        print(f"{folder / CANDIDATE}  the model; checkpoints and metrics in {folder / SCRATCH}")
    return 0
