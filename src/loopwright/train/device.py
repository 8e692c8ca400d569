"""Where to compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, cast

import torch

from loopwright.core.errors import UnknownName

DeviceName = Literal["cpu", "auto"]
Precision = Literal["float32", "bfloat16"]


def probe_device() -> torch.device:
    """Return the accelerator of this machine, of whatever make, or the CPU."""
    if torch.accelerator.is_available():
        found = torch.accelerator.current_accelerator()
        if found is not None:
            return found
    return torch.device("cpu")


def named_device(name: DeviceName) -> torch.device:
    """Return the CPU, or with ``"auto"`` the accelerator if there is one."""
    return probe_device() if name == "auto" else torch.device("cpu")


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Compute on so many threads inside the block, or on as many as before.

    With one number of threads, sums have one order and results one value.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chosen_precision(wanted: str, device: torch.device) -> Precision:
    """Return the precision for products: ``"auto"`` is bfloat16 where the device has it.

    Raises:
        UnknownName: The wanted one is none of them.
    """
    if wanted in ("float32", "bfloat16"):
        return cast(Precision, wanted)
    if wanted != "auto":
        raise UnknownName("precision", wanted, ("float32", "bfloat16", "auto"))
    return "bfloat16" if _has_bfloat16(device) else "float32"


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return a block whose products have a precision; weights and sums stay in float32."""
    if precision == "float32":
        return nullcontext()
    # A pass meets every weight once. Kept for its end, the casts of all of them would outlive
    # the blocks whose memory is to be saved.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cpu":
        # Elsewhere it is emulated, and slower than float32.
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return True
