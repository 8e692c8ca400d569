"""Which optimiser trains which weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from loopwright.core.errors import InvalidConfig
from loopwright.train.muon import Muon
from loopwright.train.parallel import local_part, same_spread

if TYPE_CHECKING:
    from loopwright.train.trainer import TrainerConfig


class Optimisers:
    """AdamW for all weights, or Muon for the matrices of hidden blocks and AdamW for the rest."""

    def __init__(self, named: Mapping[str, nn.Parameter], config: TrainerConfig) -> None:
        """Share the weights out.

        Args:
            named: Those that are trained, by name.
            config: Learning rates and decays.
        """
        hidden = _of_muon(named, config)
        taken = set(map(id, hidden))
        rest = [p for p in named.values() if id(p) not in taken]
        groups = [(g, config.weight_decay) for g in same_spread([p for p in rest if p.ndim >= 2])]
        groups += [(g, 0.0) for g in same_spread([p for p in rest if p.ndim < 2])]
        self._all: list[torch.optim.Optimizer] = []
        if groups:
            self._all.append(
                torch.optim.AdamW(
                    [{"params": group, "weight_decay": decay} for group, decay in groups],
                    lr=config.learning_rate,
                    betas=config.betas,
                    fused=True,
                )
            )
        if config.muon_rate is not None and hidden:
            self._all.append(Muon(hidden, lr=config.muon_rate, weight_decay=config.weight_decay))
        self._rates = [[group["lr"] for group in o.param_groups] for o in self._all]
        self._of = {id(p): o for o in self._all for g in o.param_groups for p in g["params"]}

    def set_rate(self, share: float) -> None:
        """Set every learning rate to a share of its highest value."""
        for optimiser, rates in zip(self._all, self._rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * share

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimiser in self._all:
            optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Take a step."""
        for optimiser in self._all:
            optimiser.step()

    def moments(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Return what is remembered of a weight, by name; what is set in it is kept."""
        return self._of[id(parameter)].state[parameter]


def remembered_bytes(named: Mapping[str, nn.Parameter], config: TrainerConfig) -> int:
    """Return how much this process remembers of its weights, without making the optimisers.

    Raises:
        InvalidConfig: Muon would meet shares of matrices.
    """
    hidden = set(map(id, _of_muon(named, config)))
    # Muon keeps one mean a weight, AdamW two and the number of its steps.
    return sum(
        local_part(p).nbytes * (1 if id(p) in hidden else 2) + (0 if id(p) in hidden else 4)
        for p in named.values()
    )


def _of_muon(named: Mapping[str, nn.Parameter], config: TrainerConfig) -> list[nn.Parameter]:
    if config.muon_rate is None:
        return []
    hidden = [p for name, p in named.items() if _is_hidden_matrix(name, p)]
    _check_whole(hidden)
    return hidden


def _is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether a weight is a matrix inside a block: no embedding, head or router."""
    return ".blocks." in f".{name}" and parameter.ndim >= 2 and ".router." not in name


def _check_whole(parameters: list[nn.Parameter]) -> None:
    # Whole experts may lie on different processes, parts of a matrix may not.
    if any(local_part(p).shape[-2:] != p.shape[-2:] for p in parameters):
        raise InvalidConfig(
            "Muon works on whole matrices, and these are split over processes; "
            "set muon_rate to None, or replicate the model instead"
        )
