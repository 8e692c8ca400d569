"""``loopwright quantise``: make a model smaller, if it still agrees with the original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from loopwright.cli.progress import progress_bar

if TYPE_CHECKING:
    from loopwright.models.deploy.quantise import Quantised


def main(  # noqa: PLR0913  (a command line is wide)
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    /,
    *,
    out: Path,
    bits: Literal[8, 4] = 8,
    divergence: float | None = None,
    agreement: float | None = None,
    rows: int = 32,
    seed: int = 0,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Make a candidate whose weights take 8 or 4 bits; it loads and serves like the original.

    Both are compared on what the original itself writes or paints. Beyond the bound nothing is
    written.

    Args:
        model: Folder of a candidate, or of a language model as Hugging Face writes it.
        out: Folder to write; must not exist.
        bits: Of each weight; embeddings, heads and routers keep all of theirs.
        divergence: Most nats between what both expect; 0.01 for 8 bits, 0.2 for 4 by default.
        agreement: Least share of places where both find the same likeliest; 0.95 for 8 bits,
            0.8 for 4 by default.
        rows: Texts or pictures to compare on.
        seed: Draws them.
        json_output: Print JSON.
    """
    from loopwright.models.deploy.quantise import BOUNDS, Bound, quantise  # here: it needs torch

    usual = BOUNDS[bits]
    bound = Bound(
        divergence_nats=usual.divergence_nats if divergence is None else divergence,
        agreement=usual.agreement if agreement is None else agreement,
    )
    with progress_bar("quantise") as progress:
        made = quantise(model, out, bits, bound=bound, rows=rows, seed=seed, progress=progress)
    print(json.dumps(made.to_json()) if json_output else _sentences(made))
    return 0


def _sentences(made: Quantised) -> str:
    share = made.bytes_after / made.bytes_before
    lines = [
        f"{made.bytes_before / 1e6:.1f} MB to {made.bytes_after / 1e6:.1f} MB of weights "
        f"({share:.0%})"
    ]
    lines += [
        f"{what}: the same likeliest at {each.agreement:.1%} of {each.places} places, "
        f"{each.divergence_nats:.2g} nats apart, largest logit error "
        f"{each.largest_logit_error:.2g} (logits deviate by {each.logit_deviation:.2g})"
        for what, each in made.agreements.items()
    ]
    return "\n".join([*lines, f"{made.folder} is the candidate {made.digest[:12]}"])
