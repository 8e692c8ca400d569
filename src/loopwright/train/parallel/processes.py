"""The processes that train one model together, as the trainer sees them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Processes:
    """This process's place among those that train one model together."""

    rank: int = 0
    data_index: int = 0
    """Which share of every batch it computes."""
    data_count: int = 1
    """How many shares there are."""

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes files and shows progress."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over all shares of the batch."""
        return value

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over all shares of the batch."""
        return value

    def whole(self, value: Tensor) -> Tensor:
        """Return a tensor whole, of which this process may hold only a part.

        Every process must ask for the same tensors in the same order.
        """
        return value

    def placed(self, whole: Tensor, like: Tensor) -> Tensor:
        """Return this process's part of a whole tensor, as ``like`` is split."""
        return whole.to(device=like.device, dtype=like.dtype)

    def last_turn(self, module: nn.Module, is_last: bool) -> AbstractContextManager[None]:
        """Return a block for a backward pass; only after the last one need gradients be shared."""
        return nullcontext()

    def agree(self, what: str, value: str) -> None:
        """Make sure that every process has the same value, before their exchanges rely on it.

        Args:
            what: Named in the message.
            value: Of this process.

        Raises:
            InvalidConfig: Another process has another one.
        """

    def wait(self) -> None:
        """Wait until every process has come this far."""

    def clip(self, parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
        """Scale the gradients down to a norm of at most ``limit``; return the norm they had."""
        return torch.nn.utils.clip_grad_norm_(parameters, limit)

    def gather(self, spread: nn.Module, alone: nn.Module) -> None:
        """Copy the weights of a model that is spread into one like it that is not.

        Args:
            spread: What was trained together.
            alone: Made as the other one was, and left as it is made, on any device.
        """
        own = alone.state_dict()
        for name, value in spread.state_dict().items():
            own[name].copy_(self.whole(value.detach()))


ALONE = Processes()
"""One process that does everything."""


def same_spread(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Group parameters that are spread over the same processes: one kernel can treat a group."""
    groups: defaultdict[object, list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        groups[getattr(parameter, "device_mesh", None)].append(parameter)
    return list(groups.values())


def local_part(value: Tensor) -> Tensor:
    """Return what this process holds of a tensor: all of it, or its share, as a plain tensor."""
    return getattr(value, "to_local", lambda: value)()
