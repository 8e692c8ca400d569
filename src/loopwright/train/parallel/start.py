"""Joining the processes that torchrun has started, and leaving them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

from loopwright.core.errors import LoopwrightError
from loopwright.train.device import probe_device
from loopwright.train.parallel.config import ParallelConfig
from loopwright.train.parallel.processes import ALONE, Processes


class ProcessLost(LoopwrightError):
    """Another process of the same training is gone; started again, it resumes."""


@contextmanager
def start_processes(config: ParallelConfig) -> Iterator[Processes]:
    """Join the processes that torchrun has started; alone, there is nothing to join.

    Inside another such block it only arranges the same processes anew, for a model that is to be
    spread differently.

    Raises:
        InvalidConfig: The processes cannot be arranged as the config asks.
        ProcessLost: Another process ended, or did not answer in time.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    config.data_processes(count)
    if count == 1:
        yield ALONE
        return
    # Costs over a second to import, which one process alone need not pay.
    import torch.distributed as dist

    from loopwright.train.parallel.together import Together

    if dist.is_initialized():
        yield Together.arranged(config, probe_device())
        return
    device = _join(config)
    try:
        yield Together.arranged(config, device)
    except RuntimeError as error:
        if not _is_about_others(error):
            raise
        raise ProcessLost(
            f"process {dist.get_rank()} of {count} lost another one, which ended or did not "
            f"answer within {config.patience_s:g} s; read what it printed last, then start the "
            f"same command again to resume from the last checkpoint ({error})"
        ) from error
    finally:
        dist.destroy_process_group()


def _join(config: ParallelConfig) -> torch.device:
    """Meet the other processes; return the device that is this one's."""
    import torch.distributed as dist

    device = probe_device()
    own = None
    if device.type != "cpu":
        own = device = torch.device(device.type, int(os.environ.get("LOCAL_RANK", "0")))
        torch.accelerator.set_device_index(device)
    dist.init_process_group(
        backend=dist.get_default_backend_for_device(device),
        timeout=timedelta(seconds=config.patience_s),
        device_id=own,
    )
    return device


def _is_about_others(error: RuntimeError) -> bool:
    """Tell a failed exchange from an error of this process; gloo raises a bare RuntimeError."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()
