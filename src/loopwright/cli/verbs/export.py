"""``loopwright export``: write a model in the format of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from loopwright.cli.progress import progress_bar

if TYPE_CHECKING:
    from loopwright.models.deploy.onnx import Exported


def main(
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    /,
    *,
    onnx: Path,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Write a model as ONNX, run it, and compare it with the original before it is kept.

    A language model becomes one file (tokens to logits); a model that paints three (encoder and
    decoder of pictures, and the step of a sequence); a world action model one (what it sees to
    its actions).

    Args:
        model: Folder of a candidate, or of a language model as Hugging Face writes it.
        onnx: The file to write; where there are several, each adds what it is to the name.
        json_output: Print JSON.
    """
    from loopwright.models.deploy.onnx import export_onnx  # here: it needs torch

    with progress_bar("export") as progress:
        made = export_onnx(model, onnx, progress=progress)
    if json_output:
        print(json.dumps([each.to_json() for each in made]))
    else:
        print("\n".join(map(_sentences, made)))
    return 0


def _sentences(made: Exported) -> str:
    agreement = ", ".join(
        f"{name} off by {error:.2g} (at most {made.bounds[name]:.2g})"
        for name, error in made.errors.items()
    )
    lines = [
        f"{made.file}  {made.size_bytes / 1e6:.1f} MB, {', '.join(made.inputs)} to "
        f"{', '.join(made.outputs)}",
        f"  checked on chance and on its own work: {agreement}",
    ]
    return "\n".join([*lines, *(f"  {note}" for note in made.notes)])
