from __future__ import annotations

import torch
from spread_run import fresh_model, loss_of
from torch import nn

from loopwright.models.layers.mixture import Experts
from loopwright.train.throughput import FlopCount, Throughput
from loopwright.train.trainer import Portion


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
    speed = Throughput(steps=10, first=0, step_tokens=100, precision="float32")
    layer = nn.Linear(64, 64)
    for _ in range(3):
        with speed.step():
            layer(torch.randn(100, 64)).sum().backward()
    message = speed.message(2)
    assert all(part in message for part in ("ms a step", "tokens/s", "GFLOP/s", "s left"))


def test_a_step_that_means_no_tokens_names_none():
    speed = Throughput(steps=1, first=0, step_tokens=0, precision="float32")
    with speed.step():
        pass
    assert "tokens" not in speed.message(0)
