"""Tensor parallelism: attention and dense feed-forward layers split among processes.

The first matrices are split by what they put out, the last by what it takes in (Shoeybi et al.,
"Megatron-LM", 2019), so a layer costs one sum over processes forwards and one backwards.
"""

from __future__ import annotations

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.attention import Attention
from loopwright.models.layers.feedforward import SwiGLU


def split_layers(module: nn.Module, mesh: DeviceMesh) -> None:
    """Split every attention and dense feed-forward layer inside a model.

    Raises:
        InvalidConfig: Their heads or hidden widths do not divide by the processes.
    """
    for layer in list(module.modules()):
        if isinstance(layer, Attention):
            _split_attention(layer, mesh)
        elif isinstance(layer, SwiGLU):
            _split_feedforward(layer, mesh)


def _split_attention(attention: Attention, mesh: DeviceMesh) -> None:
    _must_divide("heads", attention.heads, mesh)
    _must_divide("key_heads", attention.key_heads, mesh)
    by_head = {name: ColwiseParallel() for name in ("query", "key", "value")}
    parallelize_module(attention, mesh, {**by_head, "out": RowwiseParallel()})
    # Sharing the tokens once makes their gradients from all three matrices one sum, not three.
    shared = (Replicate(), None)
    parallelize_module(
        attention, mesh, PrepareModuleInput(input_layouts=shared, desired_input_layouts=shared)
    )
    for norm in (attention.query_norm, attention.key_norm):
        if isinstance(norm, nn.LayerNorm):
            # Every process normalises heads of its own (dimension 1) by one shared weight.
            parallelize_module(norm, mesh, SequenceParallel(sequence_dim=1, use_local_output=True))


def _split_feedforward(layer: SwiGLU, mesh: DeviceMesh) -> None:
    _must_divide("hidden", layer.out.in_features, mesh)
    plan = {"gate": ColwiseParallel(), "value": ColwiseParallel(), "out": RowwiseParallel()}
    parallelize_module(layer, mesh, plan)
    shared = PrepareModuleInput(input_layouts=Replicate(), desired_input_layouts=Replicate())
    parallelize_module(layer, mesh, shared)


def _must_divide(name: str, count: int, mesh: DeviceMesh) -> None:
    if count % mesh.size():
        raise InvalidConfig(
            f"{name} is {count} and cannot be split over {mesh.size()} processes evenly; "
            f"tensor must divide {name}"
        )
