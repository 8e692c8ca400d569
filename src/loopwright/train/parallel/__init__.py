"""Training one model with several processes.

::

    config = ParallelConfig(data="shard", expert=2)
    with start_processes(config) as processes:
        parallelise(model, config, processes)
        train(model, loss_at, ..., processes=processes)

Started plainly, that trains alone; started by ``torchrun --nproc-per-node 8`` it trains with
eight processes. How a model is spread is applied in one place and in one order
(:mod:`~loopwright.train.parallel.spread`); nothing in a model knows of it.
"""

from loopwright.train.parallel.config import ParallelConfig
from loopwright.train.parallel.processes import ALONE, Processes, local_part, same_spread
from loopwright.train.parallel.spread import parallelise
from loopwright.train.parallel.start import (
    ProcessLost,
    require_one_process,
    start_processes,
    trains_together,
)

__all__ = [
    "ALONE",
    "ParallelConfig",
    "ProcessLost",
    "Processes",
    "local_part",
    "parallelise",
    "require_one_process",
    "same_spread",
    "start_processes",
    "trains_together",
]
