"""Adapters sit on networks of transformers and on our own backbone alike, experts included."""

from __future__ import annotations

import pytest
import torch

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.mixture import MixtureConfig, mixtures
from loopwright.models.layers.transformer import Transformer, TransformerConfig
from loopwright.train.finetune.adapting import adapt
from loopwright.train.finetune.config import AdaptConfig
from tiny_language import make_network


class Foreign(torch.nn.Module):
    """A sparse network of transformers that answers with its scores."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_network("qwen3_moe")

    def forward(self, tokens):
        return self.inner(input_ids=tokens).logits


def own() -> torch.nn.Module:
    torch.manual_seed(0)
    sparse = MixtureConfig(experts=4, chosen=2, hidden=16)
    return Transformer(
        TransformerConfig(
            width=32, layers=2, heads=4, key_heads=2, hidden=48, causal=True, mixture=sparse
        )
    )


NETWORKS = {
    "own": (own, torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0))),
    "foreign": (Foreign, torch.arange(14).reshape(2, 7)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "config",
    [AdaptConfig(rank=2, experts=True), AdaptConfig(rank=2), AdaptConfig(method="dora", rank=2)],
    ids=["experts", "lora", "dora"],
)
def test_an_adapter_begins_as_nothing_moves_alone_and_merges(name, config):
    make, inputs = NETWORKS[name]
    network = make().eval()
    with torch.no_grad():
        before = network(inputs)
    adapted = adapt(network, config, seed=1)
    torch.testing.assert_close(adapted(inputs), before, atol=1e-5, rtol=1e-5)
    adapted(inputs).square().sum().backward()
    moving = {n for n, p in adapted.named_parameters() if p.grad is not None}
    assert moving == {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert all("lora_" in n for n in moving)
    assert config.experts == any("experts" in n for n in moving)

    torch.manual_seed(0)
    with torch.no_grad():
        for n, p in adapted.named_parameters():
            if "lora_B" in n:
                p.normal_(std=0.1)
        changed = adapted(inputs)
        assert (changed - before).abs().max() > 1e-3
        with adapted.original():
            torch.testing.assert_close(adapted(inputs), before, atol=1e-5, rtol=1e-5)
        merged = adapted.merged()
        torch.testing.assert_close(merged(inputs), changed, atol=1e-5, rtol=1e-5)


def test_the_state_of_an_adapted_network_is_what_moves():
    adapted = adapt(own(), AdaptConfig(rank=2, experts=True), seed=0)
    names = {n for n in adapted.state_dict() if "bias_E" not in n}
    assert names == {n for n, p in adapted.named_parameters() if p.requires_grad}


def test_routers_keep_their_balance_under_an_adapter():
    network = own()
    adapt(network, AdaptConfig(), seed=0)
    assert {m.config.bias_rate for m in mixtures(network)} == {0.0}


def test_chosen_layers_alone_are_adapted_and_wrong_names_are_told():
    adapted = adapt(make_network(), AdaptConfig(rank=2, targets=("q_proj",)), seed=0)
    moving = [n for n, p in adapted.named_parameters() if p.requires_grad]
    assert len(moving) == 4
    assert all("q_proj" in n for n in moving)
    with pytest.raises(InvalidConfig, match=r"'queries'.*q_proj"):
        adapt(make_network(), AdaptConfig(targets=("queries",)), seed=0)


def test_experts_of_a_dense_network_are_told():
    with pytest.raises(InvalidConfig, match="no experts"):
        adapt(make_network(), AdaptConfig(experts=True), seed=0)


def test_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    states = [
        adapt(make_network(), AdaptConfig(rank=2), seed=seed).state_dict() for seed in (1, 1, 2)
    ]
    name = next(n for n in states[0] if "lora_A" in n)
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
