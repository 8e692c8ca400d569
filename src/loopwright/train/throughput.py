"""How fast training goes, how long it will take, and how well the machine is used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

_SMOOTHING = 0.9
"""Weight of the past in the mean time of a step."""


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
        counter = FlopCounterMode(display=False) if self._done == 0 else None
        began = time.monotonic()
        if counter is None:
            yield
        else:
            with counter:
                yield
            self._flops = counter.get_total_flops()
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
