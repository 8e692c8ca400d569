"""Data parallelism: processes that compute different rows share gradients, or weights as well.

Both are FSDP2's work. With one share to a weight it keeps whole weights and averages gradients as
DDP does, overlapping the backward pass, without another wrapper that would rename parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard

from loopwright.models.layers.mixture import Experts
from loopwright.train.parallel.together import COPY, SHARD, Together


def share_data(module: nn.Module, blocks: Sequence[nn.Module], processes: Together) -> None:
    """Make the processes of a batch train one model together.

    Args:
        module: Whole.
        blocks: Parts of it whose weights are gathered, and gradients shared, at a time.
        processes: This one and the others.
    """
    meshes = processes.meshes
    for experts in [found for found in module.modules() if isinstance(found, Experts)]:
        _share(experts, meshes.sparse, processes.data_count)
    for block in blocks:
        _share(block, meshes.dense, processes.data_count)
    _share(module, meshes.dense, processes.data_count)


def _share(module: nn.Module, mesh: DeviceMesh, data_count: int) -> None:
    shares = mesh[SHARD].size()

    def share_by(weight: nn.Parameter) -> Shard | None:
        # What is split by its first dimension already may have too little left of it.
        is_split = isinstance(weight, DTensor) and weight.placements[0].is_shard(0)
        return Shard(1) if is_split and weight.shape[1] % shares == 0 else None

    shared = fully_shard(
        module,
        mesh=mesh[SHARD] if mesh[COPY].size() == 1 else mesh[COPY, SHARD],
        reshard_after_forward=None if shares > 1 else False,
        shard_placement_fn=share_by,
    )
    # Not the number of processes that sum: an expert gets tokens of all, and has fewer copies.
    shared.set_gradient_divide_factor(data_count)
    # gloo has sums only. With whole weights sums are all that is asked of it, and forcing them
    # would make FSDP2 divide twice (torch 2.13).
    shared.set_force_sum_reduction_for_comms(shares > 1 and dist.get_backend() == "gloo")
