"""``loopwright finetune``: teach a language model from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from loopwright.cli.progress import progress_bar
from loopwright.train.finetune.config import (
    AdaptConfig,
    FinetuneConfig,
    Keep,
    Method,
    Objective,
    Schedule,
)
from loopwright.train.mirrors import MirrorName, open_mirrors
from loopwright.train.teacher import TeacherConfig

if TYPE_CHECKING:
    from loopwright.train.finetune.run import Finetuned


def main(  # noqa: PLR0913  (a command line is wide)
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")],
    /,
    *,
    out: Path,
    objective: Objective = "sft",
    method: Method = "lora",
    validation: Path | None = None,
    epochs: float = 3.0,
    batch: int = 8,
    accumulate: int = 1,
    row_tokens: int = 1024,
    packed: bool = True,
    learning_rate: float | None = None,
    schedule: Schedule = "cosine",
    final_rate: float = 0.02,
    average_decay: float | None = None,
    rank: int = 16,
    scale: float = 2.0,
    dropout: float = 0.0,
    targets: tuple[str, ...] = (),
    experts: bool = False,
    beta: float = 0.1,
    precision: Literal["float32", "bfloat16"] = "float32",
    keep: Keep = "merged",
    chat_template: Path | None = None,
    base: Path | None = None,
    teacher: Path | None = None,
    teacher_share: float = 0.5,
    temperature: float = 2.0,
    seed: int = 0,
    mirror: tuple[MirrorName, ...] = (),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Fine-tune a language model from disk; the result is a candidate folder that loads like it.

    Nothing is fetched. Stopped and typed again, it goes on from its last checkpoint.

    Args:
        model: Folder of a causal language model as Hugging Face writes it, or a language candidate.
        data: JSON lines: {"messages": [...]} for sft, {"prompt", "chosen", "rejected"} for dpo.
        out: Folder to write; must not exist.
        objective: Imitate replies (sft), or prefer one reply to another (dpo).
        method: Low-rank adapters (lora, dora) or all weights (full).
        validation: Held-back examples, judged before and after.
        epochs: How often every example is seen.
        batch: Rows (sft) or pairs (dpo) of one step.
        accumulate: Turns in which the batch of a step is computed, to save memory.
        row_tokens: Longest row; longer examples are left out and counted.
        packed: Whether conversations share rows (sft); they never see each other.
        learning_rate: The usual one of objective and method by default.
        schedule: How the learning rate falls after its rise.
        final_rate: Share of the learning rate that is left at the last step.
        average_decay: Decay of a moving average of the weights, which is then what is written; none
            by default.
        rank: Of the adapters.
        scale: Factor on what an adapter adds (alpha over rank).
        dropout: Of the adapters' inputs.
        targets: Names of the linear layers to adapt; all but the output by default.
        experts: Adapt the experts of a sparse model too.
        beta: How hard dpo holds the model to where it began.
        precision: Of products.
        keep: Write a model that stands alone (merged), or the adapter, which needs its base.
        chat_template: Jinja file to use in place of the model's template.
        base: Where the base of MODEL lies, if MODEL is an adapter whose base was moved.
        teacher: Model folder with the same vocabulary to learn from beside the replies (sft).
        teacher_share: Part of the loss that is the teacher's.
        temperature: How much the beliefs of both are softened before they are compared.
        seed: Of order, dropout and first weights.
        mirror: Show metrics elsewhere too: in TensorBoard (files in OUT.metrics/tensorboard, beside
            the model), or in MLflow (at MLFLOW_TRACKING_URI).
        json_output: Print JSON instead of sentences.
    """
    config = FinetuneConfig(
        objective=objective,
        adapt=AdaptConfig(
            method=method,
            rank=rank,
            scale=scale,
            dropout=dropout,
            targets=targets,
            experts=experts,
        ),
        epochs=epochs,
        batch=batch,
        accumulate=accumulate,
        row_tokens=row_tokens,
        packed=packed,
        learning_rate=learning_rate,
        schedule=schedule,
        final_rate=final_rate,
        average_decay=average_decay,
        beta=beta,
        precision=precision,
        keep=keep,
        seed=seed,
        teacher=None
        if teacher is None
        else TeacherConfig(path=str(teacher), share=teacher_share, temperature=temperature),
    )
    from loopwright.train.finetune.run import finetune  # here: it needs torch

    # Beside the candidate, whose folder holds what its manifest declares and nothing else.
    aside = out.with_name(f"{out.name}.metrics")
    mirrors = open_mirrors(mirror, aside, experiment=out.name)
    with progress_bar("finetune") as progress:
        made = finetune(
            model,
            data,
            out,
            config,
            progress=progress,
            validation=validation,
            chat_template=chat_template,
            base=base,
            mirrors=mirrors,
        )
    print(json.dumps(_facts(made)) if json_output else _sentences(made))
    return 0


def _facts(made: Finetuned) -> dict[str, object]:
    return {
        "folder": str(made.folder),
        "candidate": made.candidate.digest,
        "examples": made.examples,
        "left_out": made.left_out,
        "steps": made.steps,
        "trained_weights": made.trained_weights,
        "before": dict(made.before),
        "after": dict(made.after),
        "curves": dict(made.curves),
    }


def _sentences(made: Finetuned) -> str:
    left_out = f" ({made.left_out} longer than a row were left out)" if made.left_out else ""
    lines = [
        f"{made.examples} examples{left_out}, {made.steps} steps, "
        f"{made.trained_weights:,} weights moved"
    ]
    if made.after:
        changes = [
            f"{name} {made.before[name]:.3f} to {value:.3f}" for name, value in made.after.items()
        ]
        lines.append(f"held back: {', '.join(changes)}")
    elif curve := made.curves.get("loss"):
        lines.append(f"training loss {curve[0][1]:.3f} to {curve[-1][1]:.3f}")
    lines.append(f"{made.folder} is the candidate {made.candidate.digest[:12]}")
    return "\n".join(lines)
