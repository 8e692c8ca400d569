"""Joining the processes that torchrun has started, and leaving them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch

from loopwright.core.errors import InvalidConfig, LoopwrightError
from loopwright.train.device import probe_device
from loopwright.train.parallel.config import ParallelConfig
from loopwright.train.parallel.processes import ALONE, Processes

Learn = TypeVar("Learn", bound=Callable[..., Any])


class ProcessLost(LoopwrightError):
    """Another process of the same training is gone; started again, it resumes."""


def trains_together(learn: Learn) -> Learn:
    """Mark a learner that joins the processes that torchrun has started, and writes with one.

    Others are refused when there are several: each would train a model of its own into the same
    folder.
    """
    learn.trains_together = True  # pyright: ignore[reportFunctionMemberAccess]
    return learn


def require_one_process(what: str) -> None:
    """Refuse several processes where each would do the whole of it, in the same place.

    Args:
        what: What one process does, as a command.

    Raises:
        InvalidConfig: torchrun has started several.
    """
    if (count := _started()) > 1:
        raise InvalidConfig(
            f"{what} works with one process, and torchrun started {count}; start it alone"
        )


def _started() -> int:
    """Return how many processes torchrun has started together, this one included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def start_processes(
    config: ParallelConfig, *, device: torch.device | None = None
) -> Iterator[Processes]:
    """Join the processes that torchrun has started; alone, there is nothing to join.

    Inside another such block it only arranges the same processes anew, for a model that is to be
    spread differently.

    Args:
        config: How they are to be arranged.
        device: What this process computes on; an accelerator if there is one, by default.

    Raises:
        InvalidConfig: The processes cannot be arranged as the config asks.
        ProcessLost: Another process ended, or did not answer in time.
    """
    count = _started()
    config.data_processes(count)
    if count == 1:
        yield ALONE
        return
    # Costs over a second to import, which one process alone need not pay.
    import torch.distributed as dist

    from loopwright.train.parallel.together import Together

    device = device or probe_device()
    if dist.is_initialized():
        yield Together.arranged(config, device)
        return
    me = f"process {os.environ.get('RANK', '0')} of {count}"
    with _stop_as_lost(me):
        try:
            yield Together.arranged(config, _join(config, device))
        except RuntimeError as error:
            if not _is_about_others(error):
                raise
            raise ProcessLost(
                f"{me} lost another one, which ended or did not answer within "
                f"{config.patience_s:g} s; read what it printed last, then start the same command "
                f"again to resume from the last checkpoint ({error})"
            ) from error
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()


def _join(config: ParallelConfig, device: torch.device) -> torch.device:
    """Meet the other processes; return the device that is this one's."""
    import torch.distributed as dist

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


@contextmanager
def _stop_as_lost(me: str) -> Iterator[None]:
    """Turn SIGTERM into the error: torchrun sends it to those that are left when one has ended.

    Whether they hear of that first or of a broken exchange is a matter of chance.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> NoReturn:
        # Once is enough: what follows is the way out.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ProcessLost(
            f"{me} was told to stop (SIGTERM), as torchrun tells all when another one has ended; "
            "read what that one printed last, then start the same command again to resume from "
            "the last checkpoint"
        )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except ProcessLost:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    except BaseException:
        signal.signal(signal.SIGTERM, before)
        raise
    signal.signal(signal.SIGTERM, before)


def _is_about_others(error: RuntimeError) -> bool:
    """Tell a failed exchange from an error of this process; gloo raises a bare RuntimeError."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()
