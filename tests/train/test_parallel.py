"""A model spread over real processes learns what one process alone would have learned.

Losses and gradient norms follow those of one process within ``TOLERANCE``, relative; sums in
another order are all that may differ. Where one process computes the same portions of a batch one
after the other, even the random numbers are the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from spread_run import Job, run

from loopwright.core.errors import InvalidConfig
from loopwright.train.metrics import read_metrics
from loopwright.train.parallel import ALONE, ParallelConfig, start_processes

TOLERANCE = 1e-5
SCRIPT = Path(__file__).with_name("spread_run.py")

ALIKE = {
    "replicate": "halves",
    "accumulate": "quarters",
    "shard-recompute": "halves",
    "tensor": "one",
    "expert": "halves",
    "replicate-muon": "halves-muon",
}
"""Ways to use two processes, and what one process does to compute the same portions."""
ALIKE_OF_FOUR = {
    "shard-tensor": "halves",
    "shard-expert": "quarters",
    "replicate-expert": "quarters",
    "expert-tensor": "halves",
}


def launch(
    processes: int, jobs: list[Job], *, timeout_s: float = 300
) -> subprocess.CompletedProcess:
    """Start torchrun on this machine's own network and a free port."""
    plain = json.dumps([{n: getattr(job, n) for n in Job.__dataclass_fields__} for job in jobs])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [*command, str(SCRIPT), plain],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def launched(processes: int, jobs: list[Job]) -> None:
    done = launch(processes, jobs)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """What one process makes of it."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("alone")
    for name in ("one", "halves", "quarters", "recompute", "halves-muon"):
        run(Job(mode=name, folder=str(root / name)))
    run(Job(mode="halves", folder=str(root / "half-way"), stop=5))
    run(Job(mode="halves", folder=str(root / "lopsided"), lopsided=True))
    return root


@pytest.fixture(scope="module")
def two(tmp_path_factory, alone) -> Path:
    """What two processes make of it, all ways in one launch."""
    root = tmp_path_factory.mktemp("two")
    shutil.copytree(alone / "half-way", root / "continued")
    for name in ALIKE:
        shutil.copytree(alone / ALIKE[name], root / f"{name}-again")
    launched(
        2,
        [
            *(Job(mode=name, folder=str(root / name)) for name in ALIKE),
            *(Job(mode=n, folder=str(root / f"{n}-again"), action="resave") for n in ALIKE),
            Job(mode="expert", folder=str(root / "lopsided"), lopsided=True),
            Job(mode="shard", folder=str(root / "continued")),
            Job(mode="shard", folder=str(root / "interrupted"), stop=5),
            Job(mode="tensor", folder=str(root / "odd-heads"), action="refuse"),
            Job(mode="expert", folder=str(root / "odd-experts"), action="refuse"),
            Job(mode="shard-muon", folder=str(root / "muon"), action="refuse"),
        ],
    )
    return root


def assert_alike(folder: Path, reference: Path) -> None:
    """Compare every logged step, and all that the last checkpoint holds."""
    lines, expected = (read_metrics(f / "run.jsonl") for f in (folder, reference))
    assert len(lines) == len(expected) == 10
    for line, true in zip(lines, expected, strict=True):
        assert line == pytest.approx(true, rel=TOLERANCE)
    found, true = (load_file(f / "run.safetensors") for f in (folder, reference))
    assert found.keys() == true.keys()
    for name, value in found.items():
        # Adam turns gradients of nothing but rounding into steps of their sign.
        torch.testing.assert_close(value, true[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", ALIKE)
def test_two_processes_learn_as_one(two, alone, name):
    assert_alike(two / name, alone / ALIKE[name])


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", ALIKE)
def test_routers_shift_alike_on_every_process(two, alone, name):
    biases = [(two / name / f"biases.{rank}.json").read_text() for rank in (0, 1)]
    assert biases[0] == biases[1] == (alone / ALIKE[name] / "biases.0.json").read_text()
    assert any(any(layer) for layer in json.loads(biases[0]))


@pytest.mark.slow
@pytest.mark.alone
def test_a_process_to_which_no_token_is_sent_takes_part(two, alone):
    assert_alike(two / "lopsided", alone / "lopsided")
    assert read_metrics(two / "lopsided" / "run.jsonl")[0]["busiest_expert"] == 2.0


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", ALIKE)
def test_a_checkpoint_passes_from_one_process_to_two_and_back_exactly(two, alone, name):
    again = two / f"{name}-again" / "run.safetensors"
    written = (alone / ALIKE[name] / "run.safetensors").read_bytes()
    assert again.read_bytes() == written
    by_two = (two / name / "run.safetensors").read_bytes()
    run(Job(mode=ALIKE[name], folder=str(two / name), action="resave"))
    assert (two / name / "run.safetensors").read_bytes() == by_two


@pytest.mark.slow
@pytest.mark.alone
def test_what_one_process_began_two_finish_and_the_other_way_round(two, alone):
    assert_alike(two / "continued", alone / "halves")
    run(Job(mode="halves", folder=str(two / "interrupted")))
    assert_alike(two / "interrupted", alone / "halves")


@pytest.mark.slow
@pytest.mark.alone
def test_what_does_not_divide_is_refused_by_name(two):
    heads = (two / "odd-heads" / "refused").read_text()
    assert "key_heads is 3" in heads
    assert "2 processes" in heads
    experts = (two / "odd-experts" / "refused").read_text()
    assert "3 experts" in experts
    assert "Muon" in (two / "muon" / "refused").read_text()


def test_what_is_resumed_ends_at_the_same_bits(alone, tmp_path):
    shutil.copytree(alone / "half-way", tmp_path / "resumed")
    run(Job(mode="halves", folder=str(tmp_path / "resumed")))
    for name in ("run.safetensors", "run.jsonl"):
        whole = (alone / "halves" / name).read_bytes()
        assert (tmp_path / "resumed" / name).read_bytes() == whole


def test_recomputed_activations_change_no_bit(alone):
    one, again = (load_file(alone / name / "run.safetensors") for name in ("one", "recompute"))
    assert all(torch.equal(one[name], again[name]) for name in one)


def test_alone_there_is_nothing_to_start(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with start_processes(ParallelConfig(data="shard", recompute=True)) as processes:
        assert processes is ALONE


@pytest.mark.parametrize(
    ("count", "config"),
    [
        ("1", ParallelConfig(tensor=2)),
        ("2", ParallelConfig(expert=4)),
        ("6", ParallelConfig(expert=2, tensor=2)),
    ],
)
def test_processes_that_cannot_be_arranged_are_refused(monkeypatch, count, config):
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(InvalidConfig, match="torchrun"), start_processes(config):
        pass


@pytest.mark.parametrize(
    "settings", [{"tensor": 0}, {"expert": -1}, {"data": "split"}, {"patience_s": 0.0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InvalidConfig, match=next(iter(settings))):
        ParallelConfig(**settings)


@pytest.mark.slow
@pytest.mark.alone
def test_four_processes_combine_two_ways(alone, tmp_path):
    launched(4, [Job(mode=name, folder=str(tmp_path / name)) for name in ALIKE_OF_FOUR])
    for name, reference in ALIKE_OF_FOUR.items():
        assert_alike(tmp_path / name, alone / reference)
        written = (tmp_path / name / "run.safetensors").read_bytes()
        run(Job(mode=reference, folder=str(tmp_path / name), action="resave"))
        assert (tmp_path / name / "run.safetensors").read_bytes() == written


@pytest.mark.slow
@pytest.mark.alone
def test_a_killed_process_ends_the_others_and_the_next_start_resumes(alone, tmp_path):
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    began_s = time.monotonic()
    broken = launch(2, [Job(mode="shard", folder=str(stormy), die=7)], timeout_s=240)
    assert broken.returncode != 0
    assert "Signal 9 (SIGKILL)" in broken.stdout
    assert time.monotonic() - began_s < 240
    assert not (stormy / "biases.0.json").exists()
    launched(2, [Job(mode="shard", folder=str(f)) for f in (calm, stormy)])
    assert [line["step"] for line in read_metrics(stormy / "run.jsonl")] == list(range(10))
    for name in ("run.safetensors", "run.jsonl"):
        assert (stormy / name).read_bytes() == (calm / name).read_bytes()


@pytest.mark.slow
@pytest.mark.alone
def test_compiled_blocks_learn_the_same(alone, tmp_path):
    launched(2, [Job(mode="compile", folder=str(tmp_path / "compile"))])
    lines = read_metrics(tmp_path / "compile" / "run.jsonl")
    losses = [line["loss"] for line in lines]
    true = [line["loss"] for line in read_metrics(alone / "halves" / "run.jsonl")]
    assert losses == pytest.approx(true, rel=1e-3)
