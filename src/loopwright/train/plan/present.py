"""How much memory this machine has for a model."""

from __future__ import annotations

import os

import torch

from loopwright.train.device import probe_device


def memory_of(device: str) -> tuple[str, int]:
    """Return whose memory a model would fill, and all bytes of it.

    Args:
        device: ``"cpu"``, or ``"auto"`` for the accelerator if there is one.
    """
    found = probe_device() if device == "auto" else torch.device("cpu")
    if found.type != "cpu":
        _, total = torch.accelerator.get_memory_info(found)
        return f"one {found.type} device", total
    return "this machine", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
