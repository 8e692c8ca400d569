"""Keeping the loads of experts even without a loss: the bias of each router, after every step.

Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts" (2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from loopwright.models.layers.mixture import mixtures
from loopwright.train.parallel import Processes


class ExpertBalance:
    """Counts where tokens go during a step and shifts the routers' biases after it."""

    def __init__(self, module: nn.Module, processes: Processes) -> None:
        """Find the mixtures of a model; one without any costs nothing."""
        self._mixtures, self._processes = list(mixtures(module)), processes
        self._loads: list[Tensor | None] = [None] * len(self._mixtures)

    def observe(self) -> None:
        """Count the tokens of the pass that has just ended."""
        for number, mixture in enumerate(self._mixtures):
            if mixture.routing is not None:
                before = self._loads[number]
                load_E = mixture.routing.load_E
                self._loads[number] = load_E if before is None else before + load_E

    @torch.no_grad()
    def step(self) -> dict[str, Tensor]:
        """Shift every bias towards idle experts and forget the counts.

        Returns:
            ``busiest_expert``: tokens of the busiest expert over the mean, averaged over layers;
            1 is even. Nothing for a model without experts.
        """
        seen = [
            (m, load)
            for m, load in zip(self._mixtures, self._loads, strict=True)
            if load is not None
        ]
        if not seen:
            return {}
        self._loads = [None] * len(self._mixtures)
        # One sum over processes for all layers.
        total = self._processes.sum(torch.cat([load_E for _, load_E in seen])).float()
        busiest = []
        for (mixture, _), load_E in zip(seen, total.split([len(e) for _, e in seen]), strict=True):
            share_E = load_E / load_E.mean()
            mixture.router.bias_E += mixture.config.bias_rate * (1.0 - share_E).sign()
            busiest.append(share_E.max())
        return {"busiest_expert": torch.stack(busiest).mean()}
