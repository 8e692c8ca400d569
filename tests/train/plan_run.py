"""Trains one step of small text-picture models for real, and says what it kept and sent.

Started by torchrun with a JSON list of configurations; the tests also call it in a process of
their own.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from loopwright.models.wudao.loss import SequenceWeights, sequence_loss
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.sequences import Counts, Pair, Sequences, batch, paint
from loopwright.train.optimisers import Optimisers
from loopwright.train.parallel import (
    ParallelConfig,
    Processes,
    local_part,
    parallelise,
    start_processes,
)
from loopwright.train.trainer import Portion, _Run
from loopwright.train.wudao import WudaoFit

SMALL: dict[str, Any] = {
    "pictures": {"px": 16, "width": 32, "heads": 2, "levels": [4, 4, 4]},
    "width": 64,
    "heads": 4,
    "layers": 3,
    "hidden": 96,
    "mixture": {"experts": 4, "chosen": 2, "hidden": 48, "shared_hidden": 32},
    "words": 120,
    "text_tokens": 12,
    "batch": 16,
    "precision": "float32",
    "muon_rate": None,
}


WHOLE = {
    "_allgather_base_": 0,
    "_reduce_scatter_base_": 1,
    "allreduce_": 0,
    "all_reduce": 0,
    "alltoall_base_": 1,
}
"""Which argument of an exchange holds all that takes part in it."""


class Sent(TorchDispatchMode):
    """Counts the bytes that go into exchanges, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: defaultdict[str, int] = defaultdict(int)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if any(hasattr(kind, "device_mesh") for kind in types):
            return NotImplemented
        name = func._overloadpacket.__name__
        if (place := WHOLE.get(name)) is not None:
            for tensor in tree_leaves(args[place]):
                if tensor.is_floating_point():
                    self.bytes[name] += tensor.nbytes
        return func(*args, **(kwargs or {}))


def sequences(fit: WudaoFit, model: Wudao, portion: Portion) -> Sequences:
    """Return rows of full length."""
    codes = fit.pictures.tokens
    rows = portion.rows(fit.batch)
    pair = Pair(list(range(20, 20 + fit.text_tokens)), np.arange(codes), 5, 6)
    framed = [paint(pair, model.config.texts)] * len(range(fit.batch)[rows])
    paints = [True] * len(framed)
    counts = Counts.of(framed, paints, codes=codes)
    return batch(framed, paints, codes=codes, counts=counts)


def fresh(fit: WudaoFit) -> Wudao:
    torch.manual_seed(0)
    return Wudao(fit.model(fit.words))


def kept(module: nn.Module, optimisers: Optimisers) -> dict[str, int]:
    named = dict(module.named_parameters())
    gradients = [local_part(p.grad) for p in named.values() if p.grad is not None]
    moments = [local_part(m) for p in named.values() for m in optimisers.moments(p).values()]
    return {
        "weights": sum(local_part(p).nbytes for p in named.values())
        + sum(b.nbytes for b in module.buffers()),
        "gradients": sum(g.nbytes for g in gradients),
        "optimiser": sum(m.nbytes for m in moments),
    }


def step(config: Mapping[str, Any], folder: Path, processes: Processes) -> dict[str, Any]:
    fit = WudaoFit.from_json(config)
    model = fresh(fit)
    parallelise(model, fit.parallel, processes)
    precision = "bfloat16" if fit.precision == "bfloat16" else "float32"
    run = _Run(model, fit.trainer(precision), folder / "none.safetensors", "test", processes)

    def loss_at(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
        return sequence_loss(model, sequences(fit, model, portion), SequenceWeights())

    run.step(0, loss_at, nullcontext())
    with Sent() as sent:
        run.step(1, loss_at, nullcontext())
    return {**kept(model, run.optimisers), "sent": dict(sent.bytes)}


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[2])
    found = []
    with start_processes(ParallelConfig(patience_s=60)) as everyone:
        for config in json.loads(sys.argv[1]):
            with start_processes(WudaoFit.from_json(config).parallel) as processes:
                found.append(step(config, folder, processes))
        (folder / f"{everyone.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
