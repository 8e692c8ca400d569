"""Trains a tiny sparse transformer in several ways, one after the other, in the same processes.

Started by torchrun with a JSON list of jobs; the tests also call it in a process of their own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.attention import Attention
from loopwright.models.layers.mixture import Experts, MixtureConfig, balance_loss, mixtures
from loopwright.models.layers.transformer import Transformer, TransformerConfig
from loopwright.train.optimisers import Optimisers
from loopwright.train.parallel import ParallelConfig, Processes, parallelise, start_processes
from loopwright.train.trainer import LossAt, Portion, TrainerConfig, _Run, train

STEPS = 10
ROWS, TOKENS, VOCABULARY = 8, 12, 16


@dataclass(frozen=True, kw_only=True)
class Mode:
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    accumulate: int = 1
    muon_rate: float | None = None


MODES = {
    "one": Mode(),
    "recompute": Mode(parallel=ParallelConfig(recompute=True)),
    "halves": Mode(accumulate=2),
    "quarters": Mode(accumulate=4),
    "halves-muon": Mode(accumulate=2, muon_rate=0.02),
    "replicate-muon": Mode(muon_rate=0.02),
    "shard-muon": Mode(parallel=ParallelConfig(data="shard"), muon_rate=0.02),
    "replicate": Mode(),
    "accumulate": Mode(accumulate=2),
    "shard": Mode(parallel=ParallelConfig(data="shard")),
    "shard-recompute": Mode(parallel=ParallelConfig(data="shard", recompute=True)),
    "compile": Mode(parallel=ParallelConfig(data="shard", compile=True)),
    "tensor": Mode(parallel=ParallelConfig(tensor=2)),
    "expert": Mode(parallel=ParallelConfig(expert=2)),
    "shard-tensor": Mode(parallel=ParallelConfig(data="shard", tensor=2)),
    "shard-expert": Mode(parallel=ParallelConfig(data="shard", expert=2)),
    "replicate-expert": Mode(parallel=ParallelConfig(expert=2, recompute=True)),
    "expert-tensor": Mode(parallel=ParallelConfig(expert=2, tensor=2)),
}


class Language(nn.Module):
    """Predicts the next token; a dense layer, then a sparse one."""

    def __init__(self) -> None:
        super().__init__()
        mixture = MixtureConfig(
            experts=4, chosen=2, hidden=24, shared_hidden=16, bias_rate=1e-2, balance_weight=1e-2
        )
        config = TransformerConfig(
            width=32,
            layers=2,
            heads=4,
            key_heads=2,
            hidden=48,
            causal=True,
            normalise_heads=True,
            mixture=mixture,
        )
        self.embed = nn.Embedding(VOCABULARY, config.width)
        self.noise = nn.Dropout(0.1)
        self.backbone = Transformer(config)
        self.head = nn.Linear(config.width, VOCABULARY, bias=False)

    def forward(self, token_BT: Tensor) -> Tensor:
        return self.head(self.backbone(self.noise(self.embed(token_BT))))


def loss_of(model: Language) -> LossAt:
    def loss_at(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
        random = torch.Generator().manual_seed(portion.step)
        start_B1 = torch.randint(VOCABULARY, (ROWS, 1), generator=random)
        pace_B1 = torch.randint(1, 4, (ROWS, 1), generator=random)
        token_BT = (start_B1 + pace_B1 * torch.arange(TOKENS + 1)) % VOCABULARY
        token_BT = token_BT[portion.rows(ROWS)]
        guess = model(token_BT[:, :-1]).flatten(0, 1)
        text = F.cross_entropy(guess, token_BT[:, 1:].flatten())
        return text + balance_loss(model), {"text": text}

    return loss_at


def fresh_model() -> Language:
    torch.manual_seed(0)
    return Language()


@dataclass(frozen=True, kw_only=True)
class Job:
    mode: str
    folder: str
    stop: int | None = None
    """Step before which it is interrupted, after a checkpoint."""
    lopsided: bool = False
    """Whether routers start out sending every token to the first half of the experts."""
    die: int | None = None
    """Step at which the last process kills itself."""
    action: str = "train"
    """Or "resave": read the checkpoint of the folder and write it again; or "refuse": expect an
    error that names the impossible, and write it down."""


class Interrupted(Exception):
    pass


def run(job: Job) -> None:
    mode, folder = MODES[job.mode], Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = fresh_model()
    if job.lopsided:
        for mixture in mixtures(model):
            mixture.router.bias_E[:2] = 2.0
    with start_processes(mode.parallel) as processes:
        if job.action == "refuse":
            refuse(model, mode, folder, processes)
            return
        parallelise(model, mode.parallel, processes)
        config = TrainerConfig(
            steps=STEPS,
            learning_rate=3e-3,
            warmup_steps=2,
            average_decay=0.9,
            log_every_steps=1,
            checkpoint_every_steps=5,
            accumulate=mode.accumulate,
            muon_rate=mode.muon_rate,
        )
        if job.action == "resave":
            again = _Run(model, config, folder / "run.safetensors", "test", processes)
            again.save(again.resume())
            return
        with suppress(Interrupted):
            train(
                model,
                interrupted(loss_of(model), job, processes),
                config,
                name="run",
                identity="test",
                folder=folder,
                progress=lambda *_: None,
                processes=processes,
            )
        biases = [m.router.bias_E.tolist() for m in mixtures(model)]
        (folder / f"biases.{processes.rank}.json").write_text(json.dumps(biases))


def interrupted(loss_at: LossAt, job: Job, processes: Processes) -> LossAt:
    def until_then(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
        if portion.step == job.stop:
            raise Interrupted
        if portion.step == job.die and not processes.is_first:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss_at(portion)

    return until_then


def refuse(model: Language, mode: Mode, folder: Path, processes: Processes) -> None:
    for part in model.modules():
        if isinstance(part, Attention):
            part.key_heads = 3
        if isinstance(part, Experts):
            part.out_EDF = nn.Parameter(part.out_EDF[:3])
    try:
        parallelise(model, mode.parallel, processes)
        Optimisers(dict(model.named_parameters()), TrainerConfig(steps=1, muon_rate=mode.muon_rate))
    except InvalidConfig as error:
        (folder / "refused").write_text(str(error))


def main() -> None:
    torch.set_num_threads(1)
    with start_processes(ParallelConfig()):
        for job in json.loads(sys.argv[1]):
            run(Job(**job))


if __name__ == "__main__":
    main()
