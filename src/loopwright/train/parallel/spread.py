"""Applying every way of spreading a model, in the one order in which they compose.

1. tensor: matrices of attention and dense feed-forward layers are split;
2. expert: experts are dealt out;
3. recompute: blocks forget their activations;
4. compile: blocks are compiled, the forgetting included;
5. data: weights are shared out or gradients averaged, outside of all of it, because that moves
   weights before and after a block runs.

Names of parameters stay the same throughout, so a checkpoint fits any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from loopwright.models.layers.mixture import MixtureOfExperts, mixtures
from loopwright.models.layers.transformer import Block
from loopwright.train.parallel.config import ParallelConfig
from loopwright.train.parallel.processes import ALONE, Processes

if TYPE_CHECKING:
    from loopwright.train.parallel.together import Together


def parallelise(module: nn.Module, config: ParallelConfig, processes: Processes = ALONE) -> None:
    """Make ``module`` compute as the config says, in place; do it before training.

    Args:
        module: The same on every process (same seed), whole.
        config: What to apply.
        processes: From :func:`~loopwright.train.parallel.start.start_processes` with the same
            config.

    Raises:
        InvalidConfig: Heads, hidden widths or experts do not divide by the processes.
    """
    blocks = [found for found in module.modules() if isinstance(found, Block)]
    together = _together(processes)
    if together is not None:
        _spread_layers(module, config, together)
    if config.recompute:
        for block in blocks:
            block.forward = _forgetting(block, compiled=config.compile)
    if config.compile:
        for part in blocks or [module]:
            part.compile()
    if together is not None and together.data_count > 1:
        from loopwright.train.parallel.data import share_data

        share_data(module, blocks, together)


def _forgetting(block: nn.Module, *, compiled: bool) -> Callable[..., Any]:
    forgetting = partial(checkpoint, block.forward, use_reentrant=False)
    sparse = list(mixtures(block))
    # The compiler takes no contexts of ours.
    if not sparse or compiled:
        return forgetting
    return partial(forgetting, context_fn=lambda: (nullcontext(), _routing_kept(sparse)))


@contextmanager
def _routing_kept(sparse: Sequence[MixtureOfExperts]) -> Iterator[None]:
    """Compute a block again without a trace: what it was read for is known from the first time.

    The routing of the second time would hold on to all that led to it, in every block at once,
    until the next pass.
    """
    before = [mixture.routing for mixture in sparse]
    try:
        yield
    finally:
        for mixture, routing in zip(sparse, before, strict=True):
            mixture.routing = routing


def _together(processes: Processes) -> Together | None:
    """Return the processes if they are several. What these need costs over a second to import."""
    if processes is ALONE:
        return None
    from loopwright.train.parallel.together import Together

    assert isinstance(processes, Together)
    return processes


def _spread_layers(module: nn.Module, config: ParallelConfig, processes: Together) -> None:
    from loopwright.train.parallel.experts import spread_experts
    from loopwright.train.parallel.layers import split_layers
    from loopwright.train.parallel.together import EXPERT, TENSOR

    if config.tensor > 1:
        split_layers(module, processes.meshes.dense[TENSOR])
    if config.expert > 1:
        for mixture in mixtures(module):
            spread_experts(mixture.experts, processes.meshes.sparse[EXPERT])
