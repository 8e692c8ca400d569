"""How a model is spread over processes, and how each of them computes its share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from loopwright.core.errors import InvalidConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ParallelConfig:
    """How a model is spread over the processes that torchrun has started."""

    data: Literal["replicate", "shard"] = "replicate"
    """What the processes left over by the other ways do: hold the whole model each and average
    gradients (as DDP does), or hold a share of every weight (FSDP2)."""
    tensor: int = 1
    """Processes among which the matrices of attention and dense feed-forward layers are split.
    They compute the same rows. Experts are not split, so sparse layers gain nothing from it."""
    expert: int = 1
    """Processes among which the experts of a layer are spread. They compute different rows and
    send each other the tokens that belong to an expert elsewhere."""
    recompute: bool = False
    """Whether activations of a block are computed again in the backward pass instead of kept."""
    compile: bool = False
    """Whether each block is compiled first. Worth it on an accelerator, not on a CPU."""
    patience_s: float = 600.0
    """How long a process waits for the others before it gives them up for lost."""

    def __post_init__(self) -> None:
        """Refuse numbers of processes below one, and no patience at all."""
        for name in ("tensor", "expert"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.data not in ("replicate", "shard"):
            raise InvalidConfig(f"data is {self.data!r}; expected 'replicate' or 'shard'")
        if not self.patience_s > 0:
            raise InvalidConfig(f"patience_s is {self.patience_s}; expected more than 0")

    def copies(self) -> ParallelConfig:
        """Return the same for a small part of a model, of which every process holds a copy."""
        return replace(self, data="replicate", tensor=1, expert=1)

    def data_processes(self, count: int) -> int:
        """Return how many of ``count`` processes are left to divide a batch after the other ways.

        Raises:
            InvalidConfig: The processes cannot be arranged so.
        """
        each = self.tensor * self.expert
        if count % each:
            raise InvalidConfig(
                f"tensor {self.tensor} times expert {self.expert} does not divide the {count} "
                f"process(es) that were started; start a multiple of {each}: "
                f"torchrun --nproc-per-node {each} ..."
            )
        return count // each
