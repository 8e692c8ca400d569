from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from loopwright.core.configuration import read_config
from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.attention import CAUSAL, attend, causal_mask
from loopwright.models.layers.mixture import (
    Experts,
    MixtureConfig,
    MixtureOfExperts,
    balance_loss,
    mixtures,
)
from loopwright.models.layers.transformer import Transformer, TransformerConfig

SPARSE = MixtureConfig(experts=4, chosen=2, hidden=24, shared_hidden=8)


def backbone(*, key_heads: int = 2, mixture: MixtureConfig | None = SPARSE) -> Transformer:
    torch.manual_seed(0)
    return Transformer(
        TransformerConfig(
            width=32,
            layers=3,
            heads=4,
            key_heads=key_heads,
            hidden=64,
            causal=True,
            normalise_heads=True,
            mixture=mixture,
        )
    ).eval()


def one_by_one(experts: Experts, x_MD: Tensor, load_E: Tensor) -> Tensor:
    """The plain loop over experts that the grouped product must agree with."""
    done, begin = [], 0
    for number, load in enumerate(load_E.tolist()):
        rows = x_MD[begin : begin + load]
        gate, value = (rows @ experts.gate_value_E2FD[number].T).chunk(2, dim=-1)
        done.append((F.silu(gate) * value) @ experts.out_EDF[number].T)
        begin += load
    return torch.cat(done)


@settings(max_examples=30, deadline=None)
@given(loads=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(lambda n: sum(n) > 0))
def test_grouped_experts_are_a_loop_over_experts(loads: list[int]):
    torch.manual_seed(1)
    experts = Experts(experts=len(loads), width=16, hidden=8)
    load_E = torch.tensor(loads)
    x_MD = torch.randn(sum(loads), 16, requires_grad=True)
    weight_MD = torch.randn(sum(loads), 16)
    gradients = []
    for compute in (experts, lambda x, load: one_by_one(experts, x, load)):
        out = compute(x_MD, load_E)
        given_to = (x_MD, experts.gate_value_E2FD, experts.out_EDF)
        gradients.append((out, *torch.autograd.grad((out * weight_MD).sum(), given_to)))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class TestMixture:
    def test_every_token_gets_its_own_experts_in_their_shares(self):
        torch.manual_seed(0)
        layer = MixtureOfExperts(MixtureConfig(experts=5, chosen=2, hidden=8), width=16)
        x_BTD = torch.randn(2, 7, 16)
        out = layer(x_BTD).flatten(0, 1)
        routing = layer.routing
        assert routing is not None
        for n, x_D in enumerate(x_BTD.flatten(0, 1)):
            expected = torch.zeros(16)
            chosen = zip(routing.expert_NC[n].tolist(), routing.weight_NC[n], strict=True)
            for expert, weight in chosen:
                only = torch.zeros(5, dtype=torch.int64)
                only[expert] = 1
                expected = expected + weight * one_by_one(layer.experts, x_D[None], only)[0]
            torch.testing.assert_close(out[n], expected, rtol=1e-4, atol=1e-5)

    def test_the_bias_moves_tokens_and_not_their_weights(self):
        torch.manual_seed(0)
        layer = MixtureOfExperts(MixtureConfig(experts=4, chosen=1, hidden=8), width=16)
        x_BTD = torch.randn(1, 64, 16)
        layer(x_BTD)
        layer.router.bias_E[2] = 10.0
        layer(x_BTD)
        assert layer.routing is not None
        assert layer.routing.load_E.tolist() == [0, 0, 64, 0]
        wanted_N1 = layer.router.score(x_BTD[0]).sigmoid()[:, 2:3]
        torch.testing.assert_close(layer.routing.weight_NC, wanted_N1)

    def test_shares_of_several_sum_to_one(self):
        layer = MixtureOfExperts(MixtureConfig(experts=4, chosen=3, hidden=8), width=16)
        layer(torch.randn(1, 64, 16))
        assert layer.routing is not None
        torch.testing.assert_close(layer.routing.weight_NC.sum(dim=1), torch.ones(64))

    def test_the_balance_loss_is_one_when_even_and_grows_when_not(self):
        layer = MixtureOfExperts(
            MixtureConfig(experts=4, chosen=1, hidden=8, balance_weight=0.5), width=4
        )
        with torch.no_grad():
            layer.router.score.weight.copy_(4 * torch.eye(4))
            layer(torch.eye(4)[None])
            assert float(balance_loss(layer)) == pytest.approx(0.5)
            layer(torch.eye(4)[:1].expand(1, 4, 4))
            assert float(balance_loss(layer)) > 0.6

    @pytest.mark.parametrize("chosen", [1, 2])
    def test_a_gradient_reaches_router_and_experts(self, chosen: int):
        layer = MixtureOfExperts(replace(SPARSE, chosen=chosen), width=16)
        layer(torch.randn(2, 40, 16)).square().mean().backward()
        # More than what rounding leaves of a gradient that cancels out.
        assert all(p.grad is not None and p.grad.norm() > 1e-5 for p in layer.parameters())

    def test_bfloat16_is_near_float32_and_routes_alike(self):
        torch.manual_seed(0)
        layer = MixtureOfExperts(SPARSE, width=32)
        x_BTD = torch.randn(2, 40, 32)
        exact = layer(x_BTD)
        assert layer.routing is not None
        routed = layer.routing.expert_NC
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = layer(x_BTD)
        assert torch.equal(layer.routing.expert_NC, routed)
        torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.02)

    @pytest.mark.parametrize("chosen", [0, 5])
    def test_an_impossible_choice_is_refused(self, chosen: int):
        with pytest.raises(InvalidConfig, match="4"):
            MixtureConfig(experts=4, chosen=chosen, hidden=8)


@pytest.mark.parametrize("mixture", [None, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_tokens_of_a_cache_count_as_if_they_were_there(
    key_heads: int, mixture: MixtureConfig | None
):
    model = backbone(key_heads=key_heads, mixture=mixture)
    x_BTD = torch.randn(2, 9, 32)
    with torch.no_grad():
        whole = model(x_BTD)
        cache = model.make_cache(batch=2, capacity=9)
        parts = [model(part, cache=cache) for part in x_BTD.split([4, 3, 1, 1], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_a_full_cache_is_an_error_that_says_so():
    model = backbone()
    cache = model.make_cache(batch=1, capacity=3)
    with torch.no_grad(), pytest.raises(InvalidConfig, match="room for 3 tokens and got 4"):
        model(torch.randn(1, 4, 32), cache=cache)


def test_packed_documents_do_not_see_each_other():
    model = backbone()
    first, second = torch.randn(1, 5, 32), torch.randn(1, 4, 32)
    segment_BT = torch.tensor([[0] * 5 + [1] * 4])
    with torch.no_grad():
        packed = model(torch.cat([first, second], dim=1), segment_BT=segment_BT)
        torch.testing.assert_close(packed[:, :5], model(first), rtol=1e-4, atol=1e-5)
        # Positions count on in the row; rotary attention sees distances alone.
        torch.testing.assert_close(packed[:, 5:], model(second), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", ["causal", "tensor", "batch", "all"])
def test_both_ways_to_attend_agree(mask: str):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 6, 8), torch.randn(2, 2, 6, 8)
    visible = {
        "causal": CAUSAL,
        "tensor": causal_mask(0, 6, torch.device("cpu")),
        "batch": causal_mask(0, 6, torch.device("cpu")).expand(2, 1, 6, 6),
        "all": "all",
    }[mask]
    fused = attend(query, key, value, visible)
    plain = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), visible)
    torch.testing.assert_close(plain.float(), fused, rtol=0.05, atol=0.03)


def test_mixtures_are_found_and_the_first_layer_is_dense():
    assert len(list(mixtures(backbone()))) == 2


def test_a_config_survives_json():
    config = backbone().config
    assert read_config(TransformerConfig, asdict(config)) == config


@pytest.mark.parametrize(
    "change", [{"layers": 0}, {"width": -64}, {"heads": 0}, {"hidden": 0}, {"dense_layers": -1}]
)
def test_a_backbone_of_no_size_is_refused_by_name(change):
    sizes = {"width": 8, "layers": 1, "heads": 2, "key_heads": 2, "hidden": 8, **change}
    with pytest.raises(InvalidConfig, match=next(iter(change))):
        TransformerConfig(**sizes)


@pytest.mark.parametrize("name", ["bias_rate", "balance_weight"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_balance_that_evens_nothing_out_is_refused_by_name(name, value):
    with pytest.raises(InvalidConfig, match=name):
        MixtureConfig(experts=2, chosen=1, hidden=4, **{name: value})
