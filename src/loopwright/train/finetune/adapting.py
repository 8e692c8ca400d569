"""Choosing which weights of a network move: those of adapters beside it, or all of its own.

It works on networks of transformers and on our own backbone alike, experts included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from loopwright.core.errors import InvalidConfig
from loopwright.core.seeds import derive_seed
from loopwright.models.language.adapter import attach
from loopwright.models.language.offline import import_peft
from loopwright.models.layers.mixture import Router, mixtures
from loopwright.train.finetune.config import AdaptConfig

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel


class Adapted(nn.Module):
    """A network of which some weights move; its state is what moves, and buffers.

    So checkpoints of a fine-tune hold the adapter and not, over and over, the network below it.
    """

    def __init__(self, network: nn.Module, adapter: PeftModel | None) -> None:
        """Take a network, and the adapter on it if there is one."""
        super().__init__()
        self.network: Any = network if adapter is None else adapter
        self.adapter = adapter

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the network returns."""
        return self.network(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Return the tensors that training changes; those that are shared stand there once."""
        whole = super().state_dict(*args, **kwargs)
        moving = {n for n, p in self.named_parameters() if p.requires_grad}
        moving |= {name for name, _ in self.named_buffers()}
        return {name: value for name, value in whole.items() if name in moving}

    def original(self) -> AbstractContextManager[object]:
        """Return a block in which the network answers as it did before."""
        return nullcontext() if self.adapter is None else self.adapter.disable_adapter()

    def merged(self) -> nn.Module:
        """Fold the adapter into the network and return it; the adapter is gone then."""
        return self.network if self.adapter is None else self.adapter.merge_and_unload()

    @property
    def trained_weights(self) -> int:
        """How many numbers move."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


def adapt(network: nn.Module, config: AdaptConfig, *, seed: int) -> Adapted:
    """Make some weights of a network move and fix all others.

    Args:
        network: Changed in place: adapters are put into it.
        config: Which weights.
        seed: Where the first weights of adapters come from. They change nothing yet.

    Raises:
        InvalidConfig: There is nothing of the names to adapt.
        MissingExtra: peft is not installed.
    """
    if config.method == "full":
        return Adapted(network.requires_grad_(True), None)
    _stop_balancing(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "adapter"))
        return Adapted(network, attach(network, _lora(network, config)))


def _lora(network: nn.Module, config: AdaptConfig) -> LoraConfig:
    matrices = [n for n, p in network.named_parameters() if p.ndim == 3] if config.experts else []
    if config.experts and not matrices:
        raise InvalidConfig(
            f"{type(network).__name__} keeps no experts as one weight with three dimensions; "
            "leave experts out"
        )
    return import_peft().LoraConfig(
        r=config.rank,
        lora_alpha=config.scale * config.rank,
        lora_dropout=config.dropout,
        use_dora=config.method == "dora",
        target_modules=sorted(_targets(network, config)),
        target_parameters=sorted({".".join(name.split(".")[-2:]) for name in matrices}) or None,
    )


def _targets(network: nn.Module, config: AdaptConfig) -> set[str]:
    """Return the ends of the names of the layers to adapt."""
    there = {name.rpartition(".")[2] for name in _linear_layers(network)}
    if not config.targets:
        if not there:
            raise InvalidConfig(f"{type(network).__name__} has no linear layer to adapt")
        return there
    for target in config.targets:
        if not any(
            name == target or name.endswith(f".{target}") for name, _ in network.named_modules()
        ):
            raise InvalidConfig(
                f"{type(network).__name__} has no layer {target!r}; its linear layers are "
                f"{', '.join(sorted(there))}"
            )
    return set(config.targets)


def _linear_layers(network: nn.Module) -> Iterator[str]:
    """Yield the names of the layers that are adapted unless others are asked for."""
    output = network.get_output_embeddings() if hasattr(network, "get_output_embeddings") else None  # type: ignore[operator]
    # A router reads its weights in full precision, past any adapter.
    fixed = {id(m) for r in network.modules() if isinstance(r, Router) for m in r.modules()}
    fixed.add(id(output))
    return (
        name
        for name, module in network.named_modules()
        if _is_linear(module) and id(module) not in fixed
    )


def _is_linear(module: nn.Module) -> bool:
    # GPT-2 has linear layers under another name, with weights the other way round.
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _stop_balancing(network: nn.Module) -> None:
    """Keep the routers as they are: what shifts them is no weight, and no adapter could hold it."""
    for mixture in mixtures(network):
        mixture.config = replace(mixture.config, bias_rate=0.0)
