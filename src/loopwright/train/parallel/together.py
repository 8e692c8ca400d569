"""Several processes that train one model: what they tell each other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

from loopwright.core.errors import InvalidConfig
from loopwright.train.parallel.config import ParallelConfig
from loopwright.train.parallel.processes import Processes, same_spread

COPY, SHARD, EXPERT, TENSOR = "copy", "shard", "expert", "tensor"
"""Names of the dimensions of a mesh: along ``copy`` weights are the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Meshes:
    """The processes in rows and columns: once for the experts, once for every other weight.

    A process that holds a share of the experts is, to all other weights, one more that computes
    rows of its own; so the two are laid out differently over the same processes.
    """

    dense: DeviceMesh
    """copy x shard x tensor."""
    sparse: DeviceMesh
    """copy x shard x expert x tensor."""

    @classmethod
    def arranged(cls, config: ParallelConfig, count: int, device: torch.device) -> Meshes:
        """Lay out all processes; each must call this.

        Raises:
            InvalidConfig: They cannot be arranged so.
        """
        data = config.data_processes(count)

        def rows_of(processes: int) -> tuple[int, int]:
            return (processes, 1) if config.data == "replicate" else (1, processes)

        return cls(
            dense=init_device_mesh(
                device.type,
                (*rows_of(data * config.expert), config.tensor),
                mesh_dim_names=(COPY, SHARD, TENSOR),
            ),
            sparse=init_device_mesh(
                device.type,
                (*rows_of(data), config.expert, config.tensor),
                mesh_dim_names=(COPY, SHARD, EXPERT, TENSOR),
            ),
        )

    @property
    def batch(self) -> DeviceMesh:
        """The processes that compute different rows, in a line."""
        return self.dense[COPY] if self.dense[SHARD].size() == 1 else self.dense[SHARD]


@dataclass(frozen=True, kw_only=True, slots=True)
class Together(Processes):
    """This process's place, and the way to the others."""

    meshes: Meshes

    @classmethod
    def arranged(cls, config: ParallelConfig, device: torch.device) -> Together:
        """Take this process's place among all that torch.distributed knows."""
        meshes = Meshes.arranged(config, dist.get_world_size(), device)
        return cls(
            rank=dist.get_rank(),
            data_index=meshes.batch.get_local_rank(),
            data_count=meshes.batch.size(),
            meshes=meshes,
        )

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over all shares of the batch."""
        return self.sum(value) / self.data_count

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over all shares of the batch."""
        total = value.detach().clone()
        dist.all_reduce(total, group=self.meshes.batch.get_group())
        return total

    def whole(self, value: Tensor) -> Tensor:
        """Return a tensor whole, of which this process may hold only a part."""
        if not isinstance(value, DTensor):
            return value
        # One dimension at a time, those of the data first: they split what was split before.
        placements = list(value.placements)
        for dimension in range(len(placements)):
            placements[dimension] = Replicate()
            value = value.redistribute(placements=placements)
        return value.to_local()

    def placed(self, whole: Tensor, like: Tensor) -> Tensor:
        """Return this process's part of a whole tensor, as ``like`` is split."""
        whole = whole.to(device=like.device, dtype=like.dtype)
        if not isinstance(like, DTensor):
            return whole
        # Every process has read the whole, so none need send it.
        return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)

    @contextmanager
    def last_turn(self, module: nn.Module, is_last: bool) -> Iterator[None]:
        """Keep gradients to this process unless this is the last backward pass of a step."""
        if isinstance(module, FSDPModule):
            module.set_requires_gradient_sync(is_last)
            module.set_is_last_backward(is_last)
        yield

    def agree(self, what: str, value: str) -> None:
        """Make sure that every process has the same value."""
        values: list[str] = [""] * dist.get_world_size()
        dist.all_gather_object(values, value)
        if len(set(values)) > 1:
            other = next(rank for rank, found in enumerate(values) if found != values[0])
            raise InvalidConfig(
                f"{what}: process 0 has {values[0]!r} and process {other} has {values[other]!r}; "
                "all must be started with the same recipe, data and folders"
            )

    def wait(self) -> None:
        """Wait until every process has come this far."""
        dist.barrier()

    def clip(self, parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
        """Scale the gradients down to a norm of at most ``limit``; return the norm they had."""
        parameters = [p for p in parameters if p.grad is not None]
        by_copies: defaultdict[int, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            gradient, copies = self._piece(parameter)
            by_copies[copies].append(gradient)
        squares = [
            nn.utils.get_total_norm(pieces).square() / copies
            for copies, pieces in by_copies.items()
        ]
        total = torch.stack(squares).sum()
        dist.all_reduce(total)
        norm = total.sqrt()
        for group in same_spread(parameters):
            nn.utils.clip_grads_with_norm_(group, limit, norm)
        return norm

    def _piece(self, parameter: nn.Parameter) -> tuple[Tensor, int]:
        """Return the piece of a gradient that is here, and how many processes have the same."""
        everyone = dist.get_world_size()
        if not isinstance(parameter, DTensor):
            assert parameter.grad is not None
            return parameter.grad, everyone
        mesh, placements = parameter.device_mesh, parameter.placements
        assert isinstance(parameter.grad, DTensor)
        # Of a weight that every process has whole, each has part of the sum that is its gradient.
        parameter.grad = parameter.grad.redistribute(mesh, placements)
        pieces = math.prod(
            mesh.size(n) for n, placement in enumerate(placements) if not placement.is_replicate()
        )
        return parameter.grad.to_local(), everyone // pieces
