"""The rival has the size it claims, and intervals of timings cover what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.act import Act, ActConfig
from benchmarks.policy_latency import quantile_interval


def test_act_has_the_size_of_lerobots_default() -> None:
    act = Act(ActConfig())
    assert sum(p.numel() for p in act.parameters()) == pytest.approx(51.6e6, rel=0.002)


def test_every_part_of_act_is_trained_and_the_chunk_has_its_shape() -> None:
    torch.manual_seed(0)
    act = Act(ActConfig(chunk=4, proprio_size=3, action_size=2))
    images, proprio = torch.rand(2, 1, 3, 64, 96), torch.rand(2, 3)
    act.loss(images, proprio, torch.rand(2, 4, 2)).backward()
    assert [name for name, p in act.named_parameters() if p.grad is None] == []
    assert act.eval().act(images, proprio).shape == (2, 4, 2)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_interval_of_a_quantile_covers_it(share: float) -> None:
    random = np.random.default_rng(0)
    true = -np.log(1.0 - share)
    covered = 0
    for _ in range(400):
        low, high = quantile_interval(np.sort(random.exponential(size=200)), share)
        covered += low <= true <= high
    assert covered / 400 >= 0.93
