"""Planning the text-picture model: the real one, on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.mixture import balance_loss
from loopwright.models.wudao.model import Wudao
from loopwright.train.device import Precision
from loopwright.train.parallel.config import ParallelConfig
from loopwright.train.parallel.layers import split_layers
from loopwright.train.parallel.together import TENSOR
from loopwright.train.plan.machine import Machine
from loopwright.train.plan.passes import Pass, measure_pass
from loopwright.train.plan.plan import Plan
from loopwright.train.plan.shares import Shares, imagined_processes, shares_of
from loopwright.train.wudao import WudaoFit

_MOST_DEVICES = 2**17


def plan_wudao(config: Mapping[str, Any], devices: int, machine: Machine) -> Plan:
    """Plan the training of the decoder of a text-picture model.

    Args:
        config: That of :class:`~loopwright.train.wudao.WudaoFit`.
        devices: Processes, one for each accelerator.
        machine: What each of them is.

    Raises:
        InvalidConfig: The model or the batch does not divide so.
    """
    return _plan(WudaoFit.from_json(config), devices, machine)


def remedies_wudao(plan: Plan, config: Mapping[str, Any]) -> list[str]:
    """Return changes of which each alone makes a plan fit that does not; none may be found."""
    fit = WudaoFit.from_json(config)
    found = [
        says
        for says, changed in _changes(fit, plan.devices)
        if _fits(changed, plan.devices, plan.machine)
    ]
    if turns := _enough_turns(fit, plan):
        found.append(f"accumulate = {turns}, the batch as it is")
    if more := _enough_devices(fit, plan):
        found.append(f"{more:,} devices, the rows of each as they are")
    return found


def state_bytes(config: Mapping[str, Any]) -> int:
    """Return what one process alone keeps while it trains: weights, gradients and moments."""
    fit = WudaoFit.from_json(config)
    with torch.device("meta"):
        model = Wudao(fit.model(fit.words))
    named = dict(model.named_parameters())
    from loopwright.train.optimisers import remembered_bytes

    trainer = fit.trainer(_precision(fit))
    return 2 * sum(p.nbytes for p in named.values()) + remembered_bytes(named, trainer)


def weights_bytes(config: Mapping[str, Any]) -> int:
    """Return what every process holds at the start, before it keeps its share: all weights."""
    fit = WudaoFit.from_json(config)
    with torch.device("meta"):
        return sum(p.nbytes for p in Wudao(fit.model(fit.words)).parameters())


def _plan(fit: WudaoFit, devices: int, machine: Machine) -> Plan:
    parallel = fit.parallel
    data = parallel.data_processes(devices) * parallel.expert
    if fit.batch % (data * fit.accumulate):
        raise InvalidConfig(
            f"a batch of {fit.batch} rows cannot be divided into {data * fit.accumulate} equal "
            f"shares ({data} processes that compute rows, times accumulate {fit.accumulate}); "
            "choose a multiple"
        )
    rows = fit.batch // (data * fit.accumulate)
    shape = replace(fit, accumulate=1, batch=1, parallel=ParallelConfig())
    passes = [
        _pass(shape, rows, parallel.tensor, parallel.expert, recompute)
        for recompute in (False, True)
    ]
    return Plan(
        devices=devices,
        parallel=parallel,
        precision=_precision(fit),
        machine=machine,
        shares=_shares(replace(fit, batch=1), devices),
        turns=fit.accumulate,
        rows=rows,
        step_tokens=fit.batch * fit.model(fit.words).longest,
        keeping=passes[0],
        recomputing=passes[1],
    )


@lru_cache(maxsize=64)
def _shares(fit: WudaoFit, devices: int) -> Shares:
    with imagined_processes(fit.parallel, devices) as processes:
        with torch.device("meta"):
            model = Wudao(fit.model(fit.words))
        return shares_of(model, fit.parallel, fit.trainer(_precision(fit)), processes)


@lru_cache(maxsize=64)
def _pass(fit: WudaoFit, rows: int, tensor: int, experts_over: int, recompute: bool) -> Pass:
    with imagined_processes(ParallelConfig(tensor=tensor), tensor) as processes:
        with torch.device("meta"):
            model = Wudao(fit.model(fit.words))
        if tensor > 1:
            split_layers(model, processes.meshes.dense[TENSOR])
        return measure_pass(
            model,
            loss_of(model, rows),
            precision=_precision(fit),
            recompute=recompute,
            experts_over=experts_over,
            tensor=tensor,
        )


def loss_of(model: Wudao, rows: int) -> Callable[[], Tensor]:
    """Return what computes a loss of so many sequences, each as long as they come."""
    config = model.config
    tokens, codes = config.longest, config.pictures.tokens

    def loss() -> Tensor:
        token_BT = torch.zeros(rows, tokens, dtype=torch.int64, device="meta")
        x_BTD = model.contextual(token_BT, token_BT)
        x_MD = x_BTD.flatten(0, 1)
        place_M = token_BT.flatten()
        # Each position is asked for a code or for a word; which does not matter to memory.
        scores = (
            model.codes(x_MD.index_select(0, place_M[: rows * codes])).float(),
            model.words(x_MD.index_select(0, place_M[rows * codes :])).float(),
        )
        nats = [F.cross_entropy(s, place_M[: len(s)], reduction="none").sum() for s in scores]
        return torch.stack(nats).sum() + balance_loss(model)

    return loss


def _precision(fit: WudaoFit) -> Precision:
    return "bfloat16" if fit.precision == "auto" else cast(Precision, fit.precision)


def _fits(fit: WudaoFit, devices: int, machine: Machine) -> bool:
    try:
        return _plan(fit, devices, machine).fits
    except InvalidConfig:
        return False


def _changes(fit: WudaoFit, devices: int) -> Iterator[tuple[str, WudaoFit]]:
    """Yield settings that may be changed, each alone."""
    parallel = fit.parallel
    if not parallel.recompute:
        changed = replace(parallel, recompute=True)
        yield "parallel.recompute = true", replace(fit, parallel=changed)
    if parallel.data == "replicate" and devices > parallel.tensor:
        changed = replace(parallel, data="shard")
        says = "parallel.data = 'shard' and muon_rate = None"
        yield says, replace(fit, muon_rate=None, parallel=changed)


def _enough_turns(fit: WudaoFit, plan: Plan) -> int | None:
    """Return the fewest turns of accumulation that fit, doubled while the rows divide."""
    turns = plan.turns * 2
    while plan.rows * plan.turns % turns == 0:
        if _fits(replace(fit, accumulate=turns), plan.devices, plan.machine):
            return turns
        turns *= 2
    return None


def _enough_devices(fit: WudaoFit, plan: Plan) -> int | None:
    """Return how many devices fit, doubled; each with the rows that it has."""
    if plan.parallel.data == "replicate":
        # Every one of them would hold as much.
        return None
    each = 2
    while (devices := plan.devices * each) <= _MOST_DEVICES:
        other = _plan(replace(fit, batch=fit.batch * each), devices, plan.machine)
        if other.fits:
            return devices
        if other.missing_bytes > 0.99 * plan.missing_bytes and each > 2:
            return None
        each *= 2
    return None
