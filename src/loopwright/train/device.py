"""Where to compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def probe_device() -> torch.device:
    """Return the accelerator of this machine, of whatever make, or the CPU."""
    if torch.accelerator.is_available():
        found = torch.accelerator.current_accelerator()
        if found is not None:
            return found
    return torch.device("cpu")


@contextmanager
def single_thread(wanted: bool) -> Iterator[None]:
    """Compute on one thread inside the block: sums then have one order, and results one value."""
    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
