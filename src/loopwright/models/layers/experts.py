"""The experts of a mixture, computed together by grouped products.

Forward and backward are written by hand as one operation: it keeps the tokens and what gate and
value made of them, works out the hidden activations again, and writes every intermediate once.

Shapes: M tokens, D width, E experts, F hidden width of an expert, I and O inputs and outputs of a
product.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Experts(nn.Module):
    """The experts alone. Tokens come sorted by expert, so one grouped product computes them all."""

    def __init__(self, *, experts: int, width: int, hidden: int) -> None:
        """Build gate, value and way back of every expert, initialised as linear layers are."""
        super().__init__()
        self.gate_value_E2FD = nn.Parameter(torch.empty(experts, 2 * hidden, width))
        self.out_EDF = nn.Parameter(torch.empty(experts, width, hidden))
        for weight in (self.gate_value_E2FD, self.out_EDF):
            nn.init.uniform_(weight, -(weight.shape[-1] ** -0.5), weight.shape[-1] ** -0.5)

    def forward(self, x_MD: Tensor, load_E: Tensor) -> Tensor:
        """Return ``(M, D)``, in the precision of autocast.

        Args:
            x_MD: Tokens, those of the first expert first.
            load_E: How many of them belong to each expert.
        """
        kind = x_MD.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            x_MD = x_MD.to(torch.get_autocast_dtype(kind))
        ends_E = load_E.cumsum(dim=0).to(torch.int32)
        done_MD = _Compute.apply(x_MD, self.gate_value_E2FD, self.out_EDF, ends_E)
        assert isinstance(done_MD, Tensor)
        return done_MD


def grouped(x_MI: Tensor, weight_EOI: Tensor, ends_E: Tensor) -> Tensor:
    """Multiply each group of rows by its own matrix, ``(M, O)``, in the precision of the rows.

    Args:
        x_MI: Rows, sorted by group.
        weight_EOI: One matrix per group, laid out as those of linear layers.
        ends_E: int32, where in ``x_MI`` each group ends.
    """
    return _multiply(x_MI, weight_EOI.to(x_MI.dtype).transpose(1, 2), ends_E)


def _multiply(left: Tensor, right: Tensor, ends_E: Tensor) -> Tensor:
    # Torch 2.13 multiplies groups in any precision, but knows the shape of the result in bfloat16
    # alone, and compiling and planning on the meta device ask for it.
    if (torch.compiler.is_compiling() or left.is_meta) and left.dtype != torch.bfloat16:
        return _multiply_opaque(left, right, ends_E)
    return F.grouped_mm(left, right, offs=ends_E)


@torch.library.custom_op("loopwright::grouped_mm", mutates_args=())
def _multiply_opaque(left: Tensor, right: Tensor, ends_E: Tensor) -> Tensor:
    return F.grouped_mm(left, right, offs=ends_E)


@_multiply_opaque.register_fake
def _(left: Tensor, right: Tensor, ends_E: Tensor) -> Tensor:
    groups = ends_E.shape if right.ndim == 2 else ()
    return left.new_empty(*groups, left.shape[0], right.shape[-1])


class _Compute(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_MD: Tensor, gate_value_E2FD: Tensor, out_EDF: Tensor, ends_E: Tensor
    ) -> Tensor:
        gate_value_M2F = grouped(x_MD, gate_value_E2FD, ends_E)
        ctx.save_for_backward(x_MD, gate_value_M2F, gate_value_E2FD, out_EDF, ends_E)
        gate_MF, value_MF = gate_value_M2F.chunk(2, dim=-1)
        return grouped(F.silu(gate_MF).mul_(value_MF), out_EDF, ends_E)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_MD, gate_value_M2F, gate_value_E2FD, out_EDF, ends_E = ctx.saved_tensors
        # The products refuse a gradient without strides of its own, as that of a sum.
        given_MD = gradients[0].contiguous()
        given_MF = grouped(given_MD, out_EDF.transpose(1, 2), ends_E)
        inner_M2F, hidden_MF = _gate_backward(gate_value_M2F, given_MF)
        x_gradient = gate_value_gradient = out_gradient = None
        if ctx.needs_input_grad[2]:
            out_gradient = _multiply(given_MD.t(), hidden_MF, ends_E).to(out_EDF.dtype)
        if ctx.needs_input_grad[1]:
            product = _multiply(inner_M2F.t(), x_MD, ends_E)
            gate_value_gradient = product.to(gate_value_E2FD.dtype)
        if ctx.needs_input_grad[0]:
            x_gradient = grouped(inner_M2F, gate_value_E2FD.transpose(1, 2), ends_E)
        return x_gradient, gate_value_gradient, out_gradient, None


def _gate_backward(gate_value_M2F: Tensor, given_MF: Tensor) -> tuple[Tensor, Tensor]:
    """Go back through ``silu(gate) * value``.

    Returns:
        The gradient of gate and value, in one tensor as they came, and what came out.
    """
    gate_MF, value_MF = gate_value_M2F.chunk(2, dim=-1)
    hidden_MF = F.silu(gate_MF)
    value_gradient_MF = given_MF * hidden_MF
    gate_gradient_MF = torch.ops.aten.silu_backward(given_MF.mul_(value_MF), gate_MF)
    inner_M2F = torch.cat([gate_gradient_MF, value_gradient_MF], dim=-1)
    return inner_M2F, hidden_MF.mul_(value_MF)
