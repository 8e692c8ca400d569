from __future__ import annotations

import torch
from spread_run import fresh_model, loss_of
from torch import nn

from loopwright.models.layers.mixture import Experts
from loopwright.train.throughput import FlopCount, Throughput, known_peak_flop_s, peak_flop_s
from loopwright.train.trainer import Portion, TrainerConfig, train


def test_products_are_counted_forwards_and_backwards():
    layer, x = nn.Linear(8, 16, bias=False), torch.randn(4, 8, requires_grad=True)
    with FlopCount() as count:
        layer(x).sum().backward()
    assert count.flops == 3 * 2 * 4 * 8 * 16


def test_experts_are_counted_by_the_tokens_they_get():
    experts, load = Experts(experts=4, width=8, hidden=16), torch.tensor([3, 0, 2, 5])
    x = torch.randn(10, 8, requires_grad=True)
    with FlopCount() as count:
        experts(x, load).sum().backward()
    assert count.flops == 3 * 2 * 10 * (8 * 32 + 16 * 8)


def test_counting_moves_no_bit():
    """torch's own counter does: it takes operations apart."""
    gradients = []
    for counting in (False, True):
        model = fresh_model()
        loss = loss_of(model)
        if counting:
            with FlopCount():
                loss(Portion(0))[0].backward()
        else:
            loss(Portion(0))[0].backward()
        gradients.append([p.grad for p in model.parameters()])
        torch.manual_seed(0)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_the_message_names_what_is_known():
    speed = Throughput(steps=10, first=0, step_tokens=100, peak_flop_s=1e15)
    layer = nn.Linear(64, 64)
    for _ in range(3):
        with speed.step() as counting, counting:
            layer(torch.randn(100, 64)).sum().backward()
    message = speed.message(2)
    named = ("ms a step", "tokens/s", "GFLOP/s", "% of the peak", "s left")
    assert all(part in message for part in named)


def test_what_the_optimiser_adds_is_not_counted():
    speed = Throughput(steps=1, first=0, step_tokens=0)
    layer, x = nn.Linear(8, 16, bias=False), torch.randn(4, 8)
    with speed.step() as counting:
        with counting:
            layer(x).sum().backward()
        _ = layer.weight @ layer.weight.T
    assert speed._flops == 2 * 2 * 4 * 8 * 16


def test_a_training_shows_how_much_of_a_peak_that_it_is_given_it_reaches(tmp_path):
    shown: list[str] = []
    module, x = nn.Linear(8, 8), torch.randn(4, 8)
    train(
        module,
        lambda _: (module(x).square().mean(), {}),
        TrainerConfig(steps=1, peak_tflop_s=1e-6),
        name="run",
        identity="test",
        folder=tmp_path,
        progress=lambda _, message: shown.append(message),
    )
    assert "% of the peak" in shown[0]


def test_the_peak_is_what_is_given_or_what_is_known_of_the_device():
    cpu = torch.device("cpu")
    assert peak_flop_s(2.5, "float32", cpu) == 2.5e12
    assert peak_flop_s(None, "bfloat16", cpu) == 0
    assert known_peak_flop_s("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert known_peak_flop_s("NVIDIA H100 PCIe", "bfloat16") == 756e12
    assert known_peak_flop_s("NVIDIA A100-SXM4-80GB", "float32") == 19.5e12
    assert known_peak_flop_s("something else", "bfloat16") == 0


def test_a_step_that_means_no_tokens_names_none():
    speed = Throughput(steps=1, first=0, step_tokens=0)
    with speed.step():
        pass
    assert "tokens" not in speed.message(0)
    assert "peak" not in speed.message(0)
