from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from loopwright.models.layers.mixture import MixtureConfig, MixtureOfExperts, Routing
from loopwright.models.layers.sending import Sending

WIDTH = 16
UNEVEN = MixtureConfig(experts=6, chosen=3, hidden=8)


def layer_with_an_idle_expert(dtype: torch.dtype = torch.float32) -> MixtureOfExperts:
    torch.manual_seed(0)
    layer = MixtureOfExperts(UNEVEN, width=WIDTH)
    layer.router.bias_E[4] = -10.0
    return layer.to(dtype)


def plainly(layer: MixtureOfExperts, x_ND: Tensor, routing: Routing) -> Tensor:
    """One expert after the other, for autograd to differentiate."""
    mixed_ND = torch.zeros_like(x_ND)
    experts = layer.experts
    for number in range(layer.config.experts):
        token_n, place_n = torch.where(routing.expert_NC == number)
        gate, value = (x_ND[token_n] @ experts.gate_value_E2FD[number].T).chunk(2, dim=-1)
        done = (F.silu(gate) * value) @ experts.out_EDF[number].T
        weight = routing.weight_NC[token_n, place_n, None].to(done.dtype)
        mixed_ND = mixed_ND.index_add(0, token_n, done * weight)
    return mixed_ND


def gradients(layer: MixtureOfExperts, x_BTD: Tensor, out_BTD: Tensor, given_BTD: Tensor):
    return torch.autograd.grad((out_BTD * given_BTD).sum(), (x_BTD, *layer.parameters()))


def ours_and_plain(layer: MixtureOfExperts, x_BTD: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    given_BTD = torch.randn(x_BTD.shape).to(x_BTD.dtype)
    ours = layer(x_BTD)
    results = [ours, *gradients(layer, x_BTD, ours, given_BTD)]
    routing = layer.router(x_BTD.flatten(0, 1))
    plain = plainly(layer, x_BTD.flatten(0, 1), routing).view_as(x_BTD)
    return results, [plain, *gradients(layer, x_BTD, plain, given_BTD)]


def test_results_and_gradients_are_those_of_a_loop():
    layer = layer_with_an_idle_expert()
    x_BTD = torch.randn(2, 30, WIDTH, requires_grad=True)
    for ours, plain in zip(*ours_and_plain(layer, x_BTD), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)


def test_bfloat16_weights_give_gradients_near_those_of_a_loop():
    layer = layer_with_an_idle_expert(torch.bfloat16)
    x_BTD = torch.randn(2, 30, WIDTH, dtype=torch.bfloat16, requires_grad=True)
    for ours, plain in zip(*ours_and_plain(layer, x_BTD), strict=True):
        assert ours.dtype == torch.bfloat16
        assert float((ours - plain).detach().float().norm() / plain.detach().float().norm()) < 0.02


def test_an_idle_expert_has_a_gradient_of_zero():
    layer = layer_with_an_idle_expert()
    layer(torch.randn(1, 20, WIDTH)).square().sum().backward()
    for weight in (layer.experts.gate_value_E2FD, layer.experts.out_EDF):
        assert weight.grad is not None
        busy = weight.grad.abs().sum(dim=(1, 2)) > 0
        assert busy.tolist() == [True, True, True, True, False, True]


def test_autocast_gives_full_precision_gradients_near_the_exact_ones():
    layer = layer_with_an_idle_expert()
    x_BTD, given_BTD = torch.randn(1, 40, WIDTH, requires_grad=True), torch.randn(1, 40, WIDTH)
    exact = gradients(layer, x_BTD, layer(x_BTD), given_BTD)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x_BTD)
    assert out.dtype == torch.bfloat16
    rough = gradients(layer, x_BTD, out, given_BTD)
    for ours, wanted in zip(rough, exact, strict=True):
        assert ours.dtype == torch.float32
        assert float((ours - wanted).norm() / wanted.norm()) < 0.03


def test_the_same_input_gives_the_same_bits():
    layer = layer_with_an_idle_expert()
    x_BTD, given_BTD = torch.randn(4, 64, WIDTH, requires_grad=True), torch.randn(4, 64, WIDTH)
    first, second = (gradients(layer, x_BTD, layer(x_BTD), given_BTD) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_gradient_that_is_one_number_repeated_is_taken():
    layer = layer_with_an_idle_expert()
    layer(torch.randn(1, 9, WIDTH)).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_frozen_experts_still_pass_the_gradient_on():
    layer = layer_with_an_idle_expert()
    x_BTD, given_BTD = torch.randn(1, 9, WIDTH, requires_grad=True), torch.randn(1, 9, WIDTH)
    (wanted,) = torch.autograd.grad(layer(x_BTD), x_BTD, given_BTD)
    layer.requires_grad_(False)
    (given,) = torch.autograd.grad(layer(x_BTD), x_BTD, given_BTD)
    assert torch.equal(given, wanted)


# Torch instantiates an autograd function itself when it compiles one.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_is_one_graph_to_the_compiler(precision: str):
    layer = layer_with_an_idle_expert()
    x_BTD, given_BTD = torch.randn(1, 24, WIDTH, requires_grad=True), torch.randn(1, 24, WIDTH)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    results = []
    for compute in (layer, compiled):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            out = compute(x_BTD)
        results.append((out, *gradients(layer, x_BTD, out, given_BTD)))
    for plain, graph in zip(*results, strict=True):
        limit = 1e-5 if precision == "float32" else 0.02
        assert float((graph - plain).detach().norm() / plain.detach().norm()) < limit


def test_copies_of_one_expert_stay_in_the_order_of_tokens():
    expert_NC = torch.tensor([[2, 0], [0, 1], [2, 1]])
    sending = Sending.by_expert(expert_NC)
    assert sending.order_M.tolist() == [1, 2, 3, 5, 0, 4]
    assert torch.equal(sending.order_M[sending.back_NC].flatten(), torch.arange(6))


def test_recomputing_a_mixture_gives_the_same_gradient():
    layer = layer_with_an_idle_expert()
    x_BTD, given_BTD = torch.randn(1, 24, WIDTH, requires_grad=True), torch.randn(1, 24, WIDTH)
    kept = gradients(layer, x_BTD, layer(x_BTD), given_BTD)
    again = checkpoint(nn.Sequential(layer), x_BTD, use_reentrant=False)
    assert isinstance(again, Tensor)
    for first, second in zip(kept, gradients(layer, x_BTD, again, given_BTD), strict=True):
        assert torch.equal(first, second)


def test_a_plan_on_the_meta_device_needs_no_memory():
    with torch.device("meta"):
        layer = MixtureOfExperts(UNEVEN, width=WIDTH)
        layer(torch.empty(2, 30, WIDTH)).sum().backward()
    assert layer.experts.out_EDF.grad is not None
    assert layer.experts.out_EDF.grad.shape == layer.experts.out_EDF.shape


def test_a_mixture_that_has_computed_can_be_copied():
    layer = MixtureOfExperts(UNEVEN, width=WIDTH)
    x_BTD = torch.randn(1, 4, WIDTH)
    done_BTD = layer(x_BTD)
    again = copy.deepcopy(layer)
    assert again.routing is None
    assert layer.routing is not None
    torch.testing.assert_close(again(x_BTD), done_BTD, rtol=0, atol=0)
