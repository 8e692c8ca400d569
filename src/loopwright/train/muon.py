"""Muon: steps whose matrices turn every direction alike.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). Torch's own takes
matrices alone; this one takes stacks of them too, which is how the experts of a layer lie.

Shapes: E matrices of a stack, O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn

from loopwright.train.parallel import local_part

_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration, tuned by its authors for speed, not for exactness."""
_ITERATIONS: Final = 5


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal before each step."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        """Keep a momentum for each matrix.

        Args:
            parameters: Matrices ``(O, I)`` or stacks ``(E, O, I)`` of hidden layers; embeddings
                and heads do better with Adam.
            lr: Spectral norm of a step, for square matrices.
            momentum: Decay of the mean gradient.
            weight_decay: Share of the weights that a step takes away, times ``lr``.
        """
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step; a closure is not supported."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                gradient, here = local_part(weight.grad), local_part(weight)
                mean = local_part(state["mean"]).lerp_(gradient, 1.0 - group["momentum"])
                step = orthogonal(gradient.lerp(mean, group["momentum"])).to(weight.dtype)
                # A tall matrix needs longer steps to change its output as much.
                longer = max(1.0, weight.shape[-2] / weight.shape[-1]) ** 0.5
                here.mul_(1.0 - group["lr"] * group["weight_decay"])
                here.add_(step, alpha=-group["lr"] * longer)


def orthogonal(matrix_EOI: Tensor) -> Tensor:
    """Return about the nearest matrices with singular values of one, in bfloat16.

    The iteration of Newton and Schulz: singular values end between 0.7 and 1.2, which is near
    enough for a step. Works in bfloat16 by design.
    """
    first, second, third = _QUINTIC
    tall = matrix_EOI.shape[-2] > matrix_EOI.shape[-1]
    wide = (matrix_EOI.mT if tall else matrix_EOI).bfloat16()
    x = wide.reshape(-1, *wide.shape[-2:])
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        # Sum and product in one go: for stacks of small matrices a third less time.
        polynomial = torch.baddbmm(square, square, square, beta=second, alpha=third)
        x = torch.baddbmm(x, polynomial, x, beta=first)
    x = x.reshape(wide.shape)
    return x.mT if tall else x
