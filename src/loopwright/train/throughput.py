"""How fast training goes, how long it will take, and how well the machine is used."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

import loopwright.models.layers.experts  # noqa: F401  (names a grouped product of its own)

_SMOOTHING = 0.9
"""Weight of the past in the mean time of a step."""


def _grouped_flops(first: Tensor, second: Tensor, *_: object, out_val: Tensor, **__: object) -> int:
    """Count a grouped product: each row meets one matrix, or sums over rows make one each."""
    inner = first.shape[-1]
    return 2 * inner * first.shape[-2] * second.shape[-1]


_FORMULAS = {
    **flop_registry,
    torch.ops.aten._grouped_mm: _grouped_flops,
    torch.ops.loopwright.grouped_mm: _grouped_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,
}
"""What torch knows of an operation's cost, and what it does not."""


class FlopCount(TorchDispatchMode):
    """Counts operations and changes none of them.

    torch's own counter takes operations apart in order to count them, which moves the last bit of
    some; a run that is resumed would then not end at the bits of one that never stopped.
    """

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation and count it if it is known."""
        if any(hasattr(kind, "device_mesh") for kind in types):
            # A tensor that is spread over processes asks again with the part that is here.
            return NotImplemented
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = _FORMULAS.get(func._overloadpacket)
        # Tensors of other kinds stand for shapes only: nothing is computed with them.
        if formula is not None and all(kind in (Tensor, nn.Parameter) for kind in types):
            self.flops += formula(*args, **kwargs, out_val=result)
        return result


class Throughput:
    """Times steps. The first is counted operation by operation, which slows it a little."""

    def __init__(self, steps: int, first: int, step_tokens: int, precision: str) -> None:
        """Start the clock.

        Args:
            steps: Steps in all.
            first: The first one that is still to do.
            step_tokens: Tokens in a step; 0 where that means nothing.
            precision: ``"float32"`` or ``"bfloat16"``.
        """
        self._steps, self._first, self._tokens = steps, first, step_tokens
        self._dtype = getattr(torch, precision)
        self._seconds = 0.0
        self._flops = 0
        self._done = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time one step."""
        counter = FlopCount() if self._done == 0 else None
        began = time.monotonic()
        if counter is None:
            yield
        else:
            with counter:
                yield
            self._flops = counter.flops
        took = time.monotonic() - began
        # The first step also fills caches: what it took says nothing about the next.
        recent = self._seconds if self._done > 1 else took
        self._seconds = _SMOOTHING * recent + (1.0 - _SMOOTHING) * took
        self._done += 1

    def message(self, step: int) -> str:
        """Return throughput, use of the machine and time left, for a line of progress."""
        left_s = self._seconds * (self._steps - 1 - step)
        parts = [f"{self._seconds * 1e3:.0f} ms a step"]
        if self._tokens:
            parts.append(f"{self._tokens / self._seconds:,.0f} tokens/s")
        if self._flops:
            parts.append(f"{self._flops / self._seconds / 1e9:,.0f} GFLOP/s")
        parts.append(f"{left_s / 60:.0f} min left" if left_s >= 90 else f"{left_s:.0f} s left")
        return ", ".join(parts)
