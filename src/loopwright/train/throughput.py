"""How fast training goes, how long it will take, and how well the machine is used."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

import loopwright.models.layers.experts  # noqa: F401  (names a grouped product of its own)
from loopwright.train.device import Precision

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


_PEAKS_TFLOP_S: dict[str, dict[Precision, float]] = {
    "A100": {"float32": 19.5, "bfloat16": 312.0},
    "H100 PCIe": {"float32": 51.0, "bfloat16": 756.0},
    "H100": {"float32": 67.0, "bfloat16": 989.0},
    "H200": {"float32": 67.0, "bfloat16": 989.0},
}
"""Of dense products, as the makers' data sheets say; a longer name before one that it begins with.
float32 is not TF32, which torch does not use unless told to."""


def peak_flop_s(given_tflop_s: float | None, precision: Precision, device: torch.device) -> float:
    """Return what a device can compute in a second; 0 where that is not known.

    Args:
        given_tflop_s: What its owner says.
        precision: Of products.
        device: Known by the name that it gives itself.
    """
    if given_tflop_s is not None:
        return given_tflop_s * 1e12
    if device.type != "cuda":
        return 0.0
    return known_peak_flop_s(torch.cuda.get_device_name(device), precision)


def known_peak_flop_s(name: str, precision: Precision) -> float:
    """Return what the device of a name can compute in a second; 0 where that is not known."""
    found = (peaks[precision] for known, peaks in _PEAKS_TFLOP_S.items() if known in name)
    return next(found, 0.0) * 1e12


class Throughput:
    """Times steps. The first is counted operation by operation, which slows it a little."""

    def __init__(self, steps: int, first: int, step_tokens: int, peak_flop_s: float = 0.0) -> None:
        """Start the clock.

        Args:
            steps: Steps in all.
            first: The first one that is still to do.
            step_tokens: Tokens in a step; 0 where that means nothing.
            peak_flop_s: What the device can compute; 0 where that is not known.
        """
        self._steps, self._first, self._tokens = steps, first, step_tokens
        self._peak_flop_s = peak_flop_s
        self._seconds = 0.0
        self._flops = 0
        self._done = 0

    @contextmanager
    def step(self) -> Iterator[AbstractContextManager[object]]:
        """Time one step; its loss and its way back belong into the block that is handed out.

        What the model computes is counted there, and not what the optimiser adds: Muon's products
        teach nothing more for being many.
        """
        counter = FlopCount() if self._done == 0 else None
        began = time.monotonic()
        yield counter or nullcontext()
        if counter is not None:
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
        if self._flops and self._peak_flop_s:
            parts.append(f"{self._flops / self._seconds / self._peak_flop_s:.1%} of the peak")
        parts.append(f"{left_s / 60:.0f} min left" if left_s >= 90 else f"{left_s:.0f} s left")
        return ", ".join(parts)
