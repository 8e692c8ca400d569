"""A training run that is killed and started again ends at the same bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from loopwright.core.digest import digest_file
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.models.layers.mixture import MixtureConfig, MixtureOfExperts, balance_loss
from loopwright.train.metrics import curves, read_metrics
from loopwright.train.trainer import Diverged, Portion, TrainerConfig, train

SCRIPT = Path(__file__).with_name("storm_run.py")


def _storm(folder: Path, kills: int) -> int:
    command = [sys.executable, str(SCRIPT), str(folder), str(kills)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_ends_at_the_same_bits(tmp_path):
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    assert _storm(calm, 0) == 0
    assert _storm(stormy, 20) == 20
    for name in ("run.safetensors", "run.jsonl"):
        assert digest_file(stormy / name) == digest_file(calm / name)


def _train(folder, loss_at, module, *, identity="test", **config):
    return train(
        module,
        loss_at,
        TrainerConfig(**config),
        name="run",
        identity=identity,
        folder=folder,
        progress=lambda *_: None,
    )


def test_a_loss_that_is_no_number_stops_training(tmp_path):
    module = nn.Linear(2, 1)
    with pytest.raises(Diverged, match="learning_rate"):
        _train(tmp_path, lambda _: (module.weight.sum() * torch.nan, {}), module, steps=3)


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path):
    module = nn.Linear(2, 1)
    seen: list[int] = []

    def loss_at(portion: Portion):
        seen.append(portion.step)
        return module.weight.square().sum(), {}

    _train(tmp_path, loss_at, module, steps=3, identity="of some data")
    _train(tmp_path, loss_at, module, steps=4, identity="of other data")
    assert seen == [0, 1, 2, 0, 1, 2, 3]


def test_the_same_training_with_other_settings_is_refused_and_its_checkpoint_kept(tmp_path):
    module = nn.Linear(2, 1)

    def loss_at(_: Portion):
        return module.weight.square().sum(), {}

    _train(tmp_path, loss_at, module, steps=3)
    kept = digest_file(tmp_path / "run.safetensors")
    with pytest.raises(InvalidConfig, match="at step 3 with other settings"):
        _train(tmp_path, loss_at, module, steps=4)
    assert digest_file(tmp_path / "run.safetensors") == kept


def test_the_same_training_in_another_precision_is_refused_and_its_checkpoint_kept(tmp_path):
    module = nn.Linear(2, 1)

    def loss_at(_: Portion):
        return module.weight.square().sum(), {}

    _train(tmp_path, loss_at, module, steps=3, precision="bfloat16")
    kept = digest_file(tmp_path / "run.safetensors")
    with pytest.raises(InvalidConfig, match="begun in bfloat16 and would go on in float32"):
        _train(tmp_path, loss_at, module, steps=3)
    assert digest_file(tmp_path / "run.safetensors") == kept


@pytest.mark.parametrize("balance_weight", [0.0, 0.1])
def test_a_training_goes_on_in_other_turns_unless_a_loss_balances_experts(tmp_path, balance_weight):
    """That loss looks at the loads of a turn: other turns are another training."""
    config = MixtureConfig(experts=4, chosen=1, hidden=8, balance_weight=balance_weight)
    module = MixtureOfExperts(config, width=8)
    seen: list[int] = []

    def loss_at(portion: Portion):
        seen.append(portion.step)
        return module(torch.ones(1, 4, 8)).square().mean() + balance_loss(module), {}

    _train(tmp_path, loss_at, module, steps=3)
    seen.clear()
    if balance_weight:
        with pytest.raises(InvalidConfig, match="another number of portions"):
            _train(tmp_path, loss_at, module, steps=3, accumulate=2)
    else:
        _train(tmp_path, loss_at, module, steps=3, accumulate=2)
    assert not seen


@pytest.mark.parametrize(
    "change",
    [
        *({"clip_norm": value} for value in (0.0, -1.0, float("nan"))),
        *({"muon_rate": value} for value in (float("nan"), -1.0)),
        {"learning_rate": float("inf")},
        {"final_rate": -3.0},
        {"weight_decay": -1.0},
        {"warmup_steps": -5},
        {"betas": (2, 3)},
        {"precision": "fp16"},
        {"schedule": "foo"},
    ],
    ids=str,
)
def test_what_cannot_be_walked_is_refused_by_name(change):
    with pytest.raises(InvalidConfig, match=next(iter(change))):
        TrainerConfig(steps=3, **change)


@pytest.mark.parametrize("line", [b'{"loss":1.0,"st\xff', b"[1]", b'{"loss":1.0}'])
def test_a_damaged_line_of_metrics_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"loss":2.0,"step":0}\n' + line + b'\n{"loss":1.0,"step":5}\n')
    with pytest.raises(DamagedData, match=r"line 2 of the metrics .*metrics\.jsonl"):
        read_metrics(path)


def test_a_torn_last_line_of_metrics_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"loss":2.0,"step":0}\n{"loss":1.0,"step":5}\n{"lo')
    assert [line["step"] for line in read_metrics(path)] == [0, 5]


def test_curves_are_thinned():
    lines = [{"step": float(n), "loss": float(n)} for n in range(1001)]
    found = curves(lines)["loss"]
    assert len(found) <= 100
    assert found[-1][0] == 1000
