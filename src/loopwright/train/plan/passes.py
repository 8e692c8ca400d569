"""One forward and backward pass of the real model on the meta device: nothing is computed.

What differs from a pass on an accelerator is put in its place here: the casts of autocast, which
knows no meta device, attention that keeps no matrix of scores, and experts of which this process
holds a share, as many tokens coming as going.

Shapes: B rows, T tokens of a row, N codes of a picture, M tokens sent to experts, D width, E
experts, L experts of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from loopwright.models.layers.mixture import Experts, mixtures
from loopwright.models.layers.transformer import Block
from loopwright.train.device import Precision
from loopwright.train.parallel import ParallelConfig, parallelise
from loopwright.train.plan.live import LiveBytes
from loopwright.train.throughput import FlopCount

_LOW: Final = (F.linear,)
_FULL: Final = (F.layer_norm, F.cross_entropy)
"""Functions of the models that autocast computes in bfloat16, and in float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """What one process does and holds to go forwards and backwards once."""

    kept: int
    """Bytes between the two: what the way back needs."""
    most: int
    """Bytes at the worst moment, weights and finished gradients left out."""
    flops: float
    token_traffic: float
    """Bytes sent to experts elsewhere, and back, both ways."""
    split_traffic: float
    """Bytes sent to add up activations over split matrices."""


def measure_pass(
    module: nn.Module,
    loss: Callable[[], Tensor],
    *,
    precision: Precision,
    recompute: bool,
    experts_over: int = 1,
    tensor: int = 1,
) -> Pass:
    """Go through a model on the meta device.

    Args:
        module: Matrices split already if they are to be; experts whole.
        loss: Computes it.
        precision: Of products.
        recompute: Whether blocks forget their activations.
        experts_over: Processes that share the experts of a layer.
        tensor: Processes that share a matrix.
    """
    sent = _Sent()
    for mixture in mixtures(module):
        _take_share(mixture.experts, experts_over, precision, sent)
    for parameter in module.parameters():
        # A finished gradient is part of what is kept all the time, not of the pass.
        parameter.register_post_accumulate_grad_hook(_forget_gradient)
    accelerated = _AsOnAccelerators(precision, [m.router.score.weight for m in mixtures(module)])
    for block in module.modules():
        if isinstance(block, Block):
            # Torch sets the mode aside on the way back, on which blocks may be computed again.
            block.forward = _inside(accelerated, block.forward)
    parallelise(module, ParallelConfig(recompute=recompute))
    live, flops, sums = LiveBytes(), FlopCount(), _Sums()
    with sums, flops, live:
        with accelerated:
            result = loss()
        kept = live.now
        result.backward()
    return Pass(
        kept=kept,
        most=live.most,
        flops=float(flops.flops),
        token_traffic=sent.bytes * (experts_over - 1) / experts_over,
        split_traffic=sums.bytes * 2 * (tensor - 1) / tensor,
    )


def _inside(mode: _AsOnAccelerators, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def inside(*args: Any, **kwargs: Any) -> Tensor:
        # On the way forwards it is on already, and would treat everything twice.
        with nullcontext() if mode.is_on else mode:
            return forward(*args, **kwargs)

    return inside


def _forget_gradient(parameter: Tensor) -> None:
    parameter.grad = None


class _AsOnAccelerators(TorchFunctionMode):
    """Casts as autocast would, and asks for attention that keeps no matrix of scores."""

    def __init__(self, precision: Precision, exact: Sequence[Tensor]) -> None:
        super().__init__()
        self.is_on = False
        self._is_low = precision == "bfloat16"
        # Routers leave autocast.
        self._exact = {id(weight) for weight in exact}

    def __enter__(self) -> _AsOnAccelerators:
        self.is_on = True
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        self.is_on = False
        super().__exit__(*error)

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            low = torch.bfloat16 if self._is_low else torch.float32
            given = [_cast(value, low) for value in args[:3]]
            return _attend(*given, is_causal=kwargs.get("is_causal", False))
        if func is F.linear and id(args[1]) in self._exact:
            return func(*args, **kwargs)
        if self._is_low and func in (*_LOW, *_FULL):
            wanted = torch.bfloat16 if func in _LOW else torch.float32
            args = tuple(_cast(value, wanted) for value in args)
        return func(*args, **kwargs)


def _attend(query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool) -> Tensor:
    # The kernel for CPUs has the least to say about devices; all keep the same.
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return fused(query, key, value, 0.0, is_causal)[0]


def _cast(value: Any, wanted: torch.dtype) -> Any:
    is_float = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(wanted) if is_float else value


class _Sums(TorchDispatchMode):
    """Counts what is summed over processes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if any(hasattr(kind, "device_mesh") for kind in types):
            return NotImplemented
        if func is torch.ops._c10d_functional.all_reduce.default:
            self.bytes += args[0].nbytes
        return func(*args, **(kwargs or {}))


@dataclass(slots=True)
class _Sent:
    bytes: int = 0


class _Travel(torch.autograd.Function):
    """Stands for rows that are sent while as many come; gradients travel back."""

    @staticmethod
    def forward(ctx: Any, x_MD: Tensor, sent: _Sent) -> Tensor:
        ctx.sent = sent
        sent.bytes += x_MD.nbytes
        return torch.empty_like(x_MD)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.sent.bytes += gradients[0].nbytes
        return torch.empty_like(gradients[0]), None


class _ShareOfExperts(Experts):
    """Experts of which this process holds some, with as many tokens coming as going."""

    processes: int
    precision: Precision
    sent: _Sent

    def forward(self, x_MD: Tensor, load_E: Tensor) -> Tensor:
        load_L = load_E[: len(self.out_EDF)]
        if self.processes == 1:
            return super().forward(self._low(x_MD), load_L)
        order_M = torch.empty(len(x_MD), dtype=torch.int64, device=x_MD.device)
        come_MD = _travel(x_MD, self.sent).index_select(0, order_M)
        done_MD = super().forward(self._low(come_MD), load_L).index_select(0, order_M)
        return _travel(done_MD, self.sent)

    def _low(self, x_MD: Tensor) -> Tensor:
        return x_MD.bfloat16() if self.precision == "bfloat16" else x_MD


def _travel(x_MD: Tensor, sent: _Sent) -> Tensor:
    there_MD = _Travel.apply(x_MD, sent)
    assert isinstance(there_MD, Tensor)
    return there_MD


def _take_share(experts: Experts, processes: int, precision: Precision, sent: _Sent) -> None:
    for name, weight in list(experts.named_parameters()):
        part = nn.Parameter(weight.detach()[: len(weight) // processes].clone())
        experts.register_parameter(name, part)
    experts.__class__ = _ShareOfExperts
    assert isinstance(experts, _ShareOfExperts)
    experts.processes, experts.precision, experts.sent = processes, precision, sent
