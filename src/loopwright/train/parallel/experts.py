"""Experts spread over processes: tokens travel to their expert and back.

Shapes: D width, E experts in all, P processes that share them, L experts of this one (``E / P``),
M tokens sent by this process, R tokens received.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.mixture import Experts


def spread_experts(experts: Experts, mesh: DeviceMesh) -> None:
    """Leave each process of a line an equal share of the experts.

    Raises:
        InvalidConfig: They do not divide evenly.
    """
    count = len(experts.out_EDF)
    if count % mesh.size():
        raise InvalidConfig(
            f"{count} experts cannot be spread over {mesh.size()} processes evenly; "
            "expert must divide the number of experts"
        )
    for name, weight in list(experts.named_parameters()):
        part = distribute_tensor(weight.detach(), mesh, [Shard(0)], src_data_rank=None)
        experts.register_parameter(name, nn.Parameter(part))
    experts.__class__ = SpreadExperts
    assert isinstance(experts, SpreadExperts)
    experts.group = mesh.get_group()


class SpreadExperts(Experts):
    """Experts of which this process holds some. Outside it looks as if it held all."""

    group: dist.ProcessGroup

    def forward(self, x_MD: Tensor, load_E: Tensor) -> Tensor:
        """Return ``(M, D)``; every process of the group must take part.

        Args:
            x_MD: Tokens of this process, those of the first expert first.
            load_E: How many of them belong to each expert, wherever it is.
        """
        load_PL = load_E.unflatten(0, (self.group.size(), -1))
        come_PL = torch.empty_like(load_PL)
        dist.all_to_all_single(come_PL, load_PL.contiguous(), group=self.group)
        sent, received = load_PL.sum(dim=1).tolist(), come_PL.sum(dim=1).tolist()
        x_RD = _Exchange.apply(x_MD, sent, received, self.group)
        order_R = _by_expert(come_PL)
        with self._local_weights():
            done_RD = super().forward(x_RD.index_select(0, order_R), come_PL.sum(dim=0))
        back_R = torch.empty_like(order_R)
        back_R[order_R] = torch.arange(len(order_R), device=order_R.device)
        return _Exchange.apply(done_RD.index_select(0, back_R), received, sent, self.group)

    @contextmanager
    def _local_weights(self) -> Iterator[None]:
        """Compute with plain tensors: the products know nothing of weights that are spread."""
        spread = self._parameters
        local: dict[str, Any] = {
            name: weight.to_local() if isinstance(weight, DTensor) else weight
            for name, weight in spread.items()
        }
        self._parameters = local
        try:
            yield
        finally:
            self._parameters = spread


def _by_expert(come_PL: Tensor) -> Tensor:
    """Return the order that sorts by expert what came sorted by process, then by expert."""
    expert_PL = torch.arange(come_PL.shape[1], device=come_PL.device).expand_as(come_PL)
    return expert_PL.flatten().repeat_interleave(come_PL.flatten()).argsort(stable=True)


class _Exchange(torch.autograd.Function):
    """Sends rows to other processes; gradients travel the same ways back."""

    @staticmethod
    def forward(
        ctx: Any, x_MD: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup
    ) -> Tensor:
        ctx.sent, ctx.received, ctx.group = sent, received, group
        return _exchange(x_MD, sent, received, group)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None, None]:
        return _exchange(grads[0], ctx.received, ctx.sent, ctx.group), None, None, None


def _exchange(
    x_MD: Tensor, sent: list[int], received: list[int], group: dist.ProcessGroup
) -> Tensor:
    x_RD = x_MD.new_empty(sum(received), *x_MD.shape[1:])
    dist.all_to_all_single(x_RD, x_MD.contiguous(), received, sent, group=group)
    return x_RD
