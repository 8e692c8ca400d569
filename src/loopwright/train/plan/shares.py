"""What each process keeps of a model, and sends of it in a step, read off the shards themselves.

The model is built and spread by the trainer's own code, on the meta device, in a group of
processes that exist in name only; the first of them holds the largest shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.mixture import Experts, mixtures
from loopwright.train.optimisers import remembered_bytes
from loopwright.train.parallel import ParallelConfig, local_part, parallelise
from loopwright.train.parallel.together import COPY, SHARD, Together
from loopwright.train.trainer import TrainerConfig


@contextmanager
def imagined_processes(config: ParallelConfig, count: int) -> Iterator[Together]:
    """Arrange so many processes, none of which exists; this one is the first.

    Raises:
        InvalidConfig: They cannot be arranged so, or this process trains with real ones.
    """
    config.data_processes(count)
    if dist.is_initialized():
        raise InvalidConfig("a plan is made by one process that trains nothing; start it alone")
    dist.init_process_group("fake", rank=0, world_size=count)
    try:
        yield Together.arranged(config, torch.device("cpu"))
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """What the process with the largest shards keeps all the time, and moves for the data."""

    parameters: int
    """Of the whole model, counted one by one."""
    active: int
    """Of those, what one token meets: experts that are not chosen left out."""
    weights: int
    """Bytes, as all that follow; buffers included."""
    gradients: int
    optimiser: int
    gathered: int
    """Most that is whole at a time beyond the shards: the outermost weights, and those and the
    gradients of two blocks, one at work and one on its way."""
    gather_traffic: float
    """Sent in a turn of accumulation."""
    reduce_traffic: float
    """Sent in a step."""
    whole_state: int
    """Weights and moments of the whole model: what a checkpoint holds."""


def shares_of(
    module: nn.Module, config: ParallelConfig, trainer: TrainerConfig, processes: Together
) -> Shares:
    """Spread a model of the meta device in place, as the trainer would, and add up.

    Raises:
        InvalidConfig: It does not divide by the processes, or Muon would meet shares of matrices.
    """
    parameters = sum(p.numel() for p in module.parameters())
    active = parameters - unmet(module)
    whole = dict(module.named_parameters())
    whole_state = sum(p.nbytes for p in whole.values()) + remembered_bytes(whole, trainer)
    parallelise(module, config, processes)
    named = dict(module.named_parameters())
    weights = sum(local_part(p).nbytes for p in named.values())
    groups = _groups(module) if processes.data_count > 1 else []
    whole_gradients = sum(g.whole for g in groups) if trainer.accumulate > 1 else 0
    return Shares(
        parameters=parameters,
        active=active,
        weights=weights + sum(b.nbytes for b in module.buffers()),
        # Until the last turn nothing is shared out, and gradients add up whole.
        gradients=max(weights, whole_gradients),
        optimiser=remembered_bytes(named, trainer),
        gathered=_gathered(groups),
        gather_traffic=sum(g.gather_traffic for g in groups),
        reduce_traffic=sum(g.reduce_traffic for g in groups),
        whole_state=whole_state,
    )


def unmet(module: nn.Module) -> int:
    """Return how many weights a token does not meet: those of experts that it is not sent to."""
    return sum(
        sum(p.numel() for p in m.experts.parameters())
        * (m.config.experts - m.config.chosen)
        // m.config.experts
        for m in mixtures(module)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Weights that FSDP2 gathers, and whose gradients it sums, at a time."""

    whole: int
    """Bytes once gathered."""
    shards: int
    copies: int
    is_root: bool
    is_experts: bool

    @property
    def gather_traffic(self) -> float:
        # Once forwards and once backwards; the outermost stays whole in between.
        return (1 if self.is_root else 2) * self.whole * (self.shards - 1) / self.shards

    @property
    def reduce_traffic(self) -> float:
        scattered = self.whole * (self.shards - 1) / self.shards
        # A sum over copies goes around twice: sums one way, results the other.
        return scattered + 2 * self.whole / self.shards * (self.copies - 1) / self.copies


def _groups(module: nn.Module) -> list[_Group]:
    found, seen = [], set()
    # Innermost first: what an inner one manages is none of the outer one's business.
    for part in reversed([m for m in module.modules() if isinstance(m, FSDPModule)]):
        own = [p for p in part.parameters() if id(p) not in seen]
        seen |= {id(p) for p in own}
        if own:
            found.append(_group(part, own, is_root=part is module))
    return found


def _group(part: nn.Module, own: list[nn.Parameter], *, is_root: bool) -> _Group:
    first = own[0]
    assert isinstance(first, DTensor)
    names = first.device_mesh.mesh_dim_names or ()
    sizes = dict(zip(names, first.device_mesh.shape, strict=True))
    shards = sizes.get(SHARD, 1)
    return _Group(
        whole=sum(local_part(p).nbytes for p in own) * shards,
        shards=shards,
        copies=sizes.get(COPY, 1),
        is_root=is_root,
        is_experts=isinstance(part, Experts),
    )


def _gathered(groups: list[_Group]) -> int:
    sharded = [g for g in groups if g.shards > 1]
    if not sharded:
        return 0
    root = sum(g.whole for g in sharded if g.is_root)
    experts = max((g.whole for g in sharded if g.is_experts), default=0)
    block = max((g.whole for g in sharded if not g.is_root and not g.is_experts), default=0)
    return root + 4 * (block + experts)
