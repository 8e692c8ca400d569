"""``loopwright density``: how many parameters a model is worth, over how many it has."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.progress import progress_bar
from loopwright.core.errors import InvalidConfig
from loopwright.recipes.scaling import Member, density_of, measure
from loopwright.report.scaling import amount
from loopwright.report.wording import DASH
from loopwright.train.scaling.density import MAX_EXTRAPOLATION, Density


def main(  # noqa: PLR0913  (a command line is wide)
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    /,
    *,
    study: Path,
    reference_tokens: float | None = None,
    loss: float | None = None,
    params: float | None = None,
    tokens: float | None = None,
    max_extrapolation: float = MAX_EXTRAPOLATION,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Print the knowledge density of a model: its effective over its actual parameters.

    The effective size is what a model of the study's family would need for the same loss on the
    study's held-out data. The model must share the family's tokenizers.

    Args:
        model: Candidate folder; with --loss and --params only a name for what you measured.
        study: Folder of a finished study ("loopwright scale").
        reference_tokens: Tokens of the imagined reference; the model's own by default.
        loss: Measured by hand: nats a token on the study's held-out data.
        params: By hand: active parameters, embeddings left out.
        tokens: By hand: what the model was trained on.
        max_extrapolation: How many times beyond the family an answer may lie.
        json_output: Print JSON.
    """
    if (loss is None) != (params is None):
        raise InvalidConfig("--loss and --params go together: give both, or neither")
    if loss is not None and params is not None:
        member = Member(params=params, loss=loss, tokens=tokens)
    else:
        with progress_bar("density") as progress:
            member = measure(study, model, progress)
        member = Member(params=member.params, loss=member.loss, tokens=tokens or member.tokens)
    found = density_of(
        study, member, reference_tokens=reference_tokens, max_extrapolation=max_extrapolation
    )
    print(json.dumps(_plain(model, found)) if json_output else _sentences(model, found))
    return 0


def _sentences(model: Path, found: Density) -> str:
    worth, ratio = found.effective_params, found.density
    beyond = (
        "" if found.extrapolation <= 1 else f", {found.extrapolation:.2g} times beyond the grid"
    )
    return (
        f"{model}: density {ratio.value:.2f} ({ratio.low:.2f}{DASH}{ratio.high:.2f})\n"
        f"loss {found.loss:.4g} nats a token; {amount(found.params)} active parameters are worth "
        f"{amount(worth.value)} ({amount(worth.low)}{DASH}{amount(worth.high)}) of the family's "
        f"at {amount(found.reference_tokens)} tokens{beyond}"
    )


def _plain(model: Path, found: Density) -> dict[str, object]:
    facts = asdict(found)
    for name in ("effective_params", "density"):
        # JSON has no infinity.
        facts[name] = {
            key: value if value < float("inf") else "inf"
            for key, value in getattr(found, name)._asdict().items()
        }
    return {"model": str(model), **facts}
