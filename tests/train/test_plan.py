"""Plans against what small models keep, send and hold when they are trained for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from plan_run import SMALL, fresh, sequences, step

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.mixture import mixtures
from loopwright.models.wudao.loss import SequenceWeights, sequence_loss
from loopwright.train.parallel import ALONE, parallelise
from loopwright.train.plan.machine import Machine
from loopwright.train.plan.plan import Plan
from loopwright.train.plan.wudao import plan_wudao, remedies_wudao, state_bytes, weights_bytes
from loopwright.train.throughput import FlopCount
from loopwright.train.trainer import Portion
from loopwright.train.wudao import WudaoFit

SCRIPT = Path(__file__).with_name("plan_run.py")
OF_TWO: dict[str, dict[str, Any]] = {
    "shard": {"data": "shard", "recompute": True},
    "expert": {"data": "shard", "expert": 2, "recompute": True},
    "replicate": {},
    "tensor": {"tensor": 2},
}
OF_FOUR: dict[str, dict[str, Any]] = {
    "shard-expert": {"data": "shard", "expert": 2, "recompute": True},
    "shard-tensor": {"data": "shard", "tensor": 2},
    "replicate-expert": {"expert": 2},
}
ACTIVATION_FACTOR = 1.25
"""A plan of activations is at most so many times too high or too low."""


def small(**changes: Any) -> dict[str, Any]:
    return {**SMALL, **changes}


def plan(config: dict[str, Any], devices: int = 1, machine: Machine | None = None) -> Plan:
    return plan_wudao(config, devices, machine or Machine())


def really(ways: dict[str, dict[str, Any]], processes: int, folder: Path) -> list[list[dict]]:
    """Return what each process kept and sent, by process and way."""
    configs = json.dumps([small(parallel=way) for way in ways.values()])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*command, str(SCRIPT), configs, str(folder)],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def assert_as_planned(ways: dict[str, dict[str, Any]], found: list[list[dict]]) -> None:
    processes = len(found)
    for number, way in enumerate(ways.values()):
        planned = plan(small(parallel=way), processes)
        real = [of_process[number] for of_process in found]
        for name in ("weights", "gradients", "optimiser"):
            assert planned.memory[name] == max(part[name] for part in real), (way, name)
        assert planned.traffic == pytest.approx(sent(real, planned), rel=1e-3, abs=16), way


def sent(real: list[dict], planned: Plan) -> dict[str, float]:
    """Return what left a process on average: of what is whole, its own part need not travel."""
    processes, parallel = len(real), planned.parallel
    mean = {
        name: sum(part["sent"].get(name, 0) for part in real) / processes
        for name in ("_allgather_base_", "_reduce_scatter_base_", "all_reduce", "alltoall_base_")
    }
    reduced = sum(part["sent"].get("allreduce_", 0) for part in real) / processes
    data = processes // parallel.tensor if parallel.data == "shard" else 1

    def others(count: int) -> float:
        return (count - 1) / count

    # Experts that are spread have fewer shares: each kind of group is checked through the whole.
    copies = processes // parallel.tensor if parallel.data == "replicate" else 1
    return {
        "gather_weights": mean["_allgather_base_"] * others(data),
        "sum_gradients": mean["_reduce_scatter_base_"] * others(data)
        + 2 * (reduced if copies > 1 else 0.0) * others(copies),
        "experts": mean["alltoall_base_"] * others(parallel.expert),
        "split_matrices": 2 * mean["all_reduce"] * others(parallel.tensor),
    }


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestAlone:
    @pytest.mark.parametrize("muon_rate", [None, 0.02])
    def test_what_is_kept_is_planned_to_the_byte(self, tmp_path: Path, muon_rate):
        config = small(muon_rate=muon_rate)
        planned, real = plan(config).memory, step(config, tmp_path, ALONE)
        for name in ("weights", "gradients", "optimiser"):
            assert planned[name] == real[name]

    def test_parameters_are_those_of_the_model(self):
        model, shares = fresh(WudaoFit.from_json(SMALL)), plan(small()).shares
        assert shares.parameters == sum(p.numel() for p in model.parameters())
        experts = sum(p.numel() for m in mixtures(model) for p in m.experts.parameters())
        assert shares.active == shares.parameters - experts // 2

    @pytest.mark.parametrize("recompute", [False, True])
    def test_activations_are_planned_within_a_factor(self, recompute: bool):
        config = small(parallel={"recompute": recompute})
        planned, real = plan(config).chosen.most, peak_of_activations(config)
        assert real / ACTIVATION_FACTOR < planned < real * ACTIVATION_FACTOR

    def test_forgetting_activations_is_planned_to_save_them_and_to_cost_another_pass(self):
        planned = plan(small(layers=6))
        assert planned.recomputing.kept < 0.5 * planned.keeping.kept
        assert 1.2 < planned.recomputing.flops / planned.keeping.flops < 1.34

    def test_blocks_that_are_computed_again_hold_nothing_once_they_are_done(self):
        ways = {"precision": "bfloat16", "parallel": {"recompute": True}, "batch": 2}
        few, many = (plan(small(layers=layers, **ways)).recomputing for layers in (4, 12))
        # A block's input is all that stays of it, so the worst moment grows by those alone.
        assert many.most - few.most < 1.2 * (many.kept - few.kept)

    def test_operations_are_those_of_a_real_pass(self):
        fit = WudaoFit.from_json(SMALL)
        model = fresh(fit)
        with FlopCount() as real:
            given = sequences(fit, model, Portion(0))
            sequence_loss(model, given, SequenceWeights())[0].backward()
        assert plan(small()).flops == pytest.approx(real.flops, rel=0.02)


def peak_of_activations(config: dict[str, Any]) -> int:
    """Return the most that torch's allocator held in a real pass, finished gradients left out."""
    fit = WudaoFit.from_json(config)
    model = fresh(fit)
    parallelise(model, fit.parallel)
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(_forget)
    given = sequences(fit, model, Portion(0))
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        sequence_loss(model, given, SequenceWeights())[0].backward()
    results: Any = profile.kineto_results  # pyright: ignore[reportOptionalMemberAccess]
    events = [e for e in results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def _forget(parameter: torch.Tensor) -> None:
    parameter.grad = None


@pytest.mark.slow
def test_two_processes_keep_and_send_what_was_planned(tmp_path: Path):
    assert_as_planned(OF_TWO, really(OF_TWO, 2, tmp_path))


@pytest.mark.slow
def test_four_processes_keep_what_was_planned(tmp_path: Path):
    found = really(OF_FOUR, 4, tmp_path)
    for number, way in enumerate(OF_FOUR.values()):
        planned = plan(small(parallel=way), 4)
        for name in ("weights", "gradients", "optimiser"):
            assert planned.memory[name] == max(part[number][name] for part in found), (way, name)


class TestVerdict:
    def test_a_plan_that_does_not_fit_says_what_would_make_it_fit(self):
        config = small(layers=6, batch=64)
        whole = plan(config, 2)
        other = plan({**config, "parallel": {"recompute": True}}, 2)
        between = (sum(whole.memory.values()) + sum(other.memory.values())) / 2
        tight = Machine(memory_gib=between / 2**30, usable=1.0)
        planned = plan(config, 2, tight)
        assert not planned.fits
        assert planned.missing_bytes == pytest.approx(sum(whole.memory.values()) - between)
        remedies = remedies_wudao(planned, config)
        assert "parallel.recompute = true" in remedies
        assert "accumulate = 2, the batch as it is" in remedies
        assert plan({**config, "accumulate": 2}, 2, tight).fits

    def test_nothing_is_said_to_help_where_nothing_does(self):
        tiny = Machine(memory_gib=1e-6)
        assert remedies_wudao(plan(small(), 1, tiny), small()) == []

    def test_a_slower_way_and_a_lower_share_of_the_peak_take_longer(self):
        config = small(parallel={"data": "shard", "expert": 2})
        fast, slow = (plan(config, 4, Machine(node_gb_s=rate)) for rate in (450.0, 1.0))
        assert fast.step_s[0] < slow.step_s[0]
        assert fast.step_s[0] < fast.step_s[1]
        assert fast.to_json()["trained"] is False

    def test_what_does_not_divide_is_refused(self):
        with pytest.raises(InvalidConfig, match="batch of 16 rows"):
            plan(small(), 3)
        with pytest.raises(InvalidConfig, match="4 experts"):
            plan(small(batch=18, parallel={"expert": 3}), 3)
        with pytest.raises(InvalidConfig, match="Muon"):
            plan(small(muon_rate=0.02, parallel={"data": "shard"}), 2)

    def test_one_process_needs_weights_gradients_and_moments(self):
        planned = plan(small()).memory
        kept = sum(planned[name] for name in ("weights", "gradients", "optimiser"))
        buffers = planned["weights"] - weights_bytes(small())
        assert state_bytes(small()) == kept - buffers
