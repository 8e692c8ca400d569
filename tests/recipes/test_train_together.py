"""The real command under torchrun: several processes train the model that one would have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pairs_recipe import TEXTS, recipe

from loopwright.core.errors import InvalidConfig
from loopwright.core.policy import Candidate
from loopwright.models.wudao.sample import Prompt, TextPictureModel
from loopwright.recipes.training import CANDIDATE, FACTS, SCRATCH, run_training
from loopwright.train.metrics import read_metrics

TOLERANCE = 1e-5
"""Relative, as for a step that is divided among processes; sums in another order differ."""
RECIPE = Path(__file__).with_name("pairs_recipe.py")
STAGES = ("pictures", "sequences")


def command(processes: int) -> list[str]:
    if processes == 1:
        return [sys.executable, "-m"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)]
    return [*torchrun, "-m"]


def train(
    processes: int, folder: Path, out: str, *, odd: dict[str, str] | None = None, **wanted: object
) -> subprocess.CompletedProcess:
    wanted = {"corpus": str(folder / "pairs.parquet"), **wanted}
    return subprocess.run(
        [*command(processes), "loopwright", "train", str(RECIPE), "--out", str(folder / out)],
        env={
            **os.environ,
            "PYTHONPATH": str(RECIPE.parent),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
            "PAIRS_RECIPE": json.dumps(wanted),
            **(odd or {}),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def assert_trained(done: subprocess.CompletedProcess, out: Path) -> str:
    """Return the digest that was printed: once, whatever the number of processes."""
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert Candidate.open(out / CANDIDATE).digest == first
    assert second.startswith(str(out / CANDIDATE))
    return first


def assert_alike(out: Path, reference: Path) -> None:
    for stage in STAGES:
        lines, true = (read_metrics(f / SCRATCH / f"{stage}.jsonl") for f in (out, reference))
        assert len(lines) == len(true) > 0
        for line, expected in zip(lines, true, strict=True):
            assert line == pytest.approx(expected, rel=TOLERANCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds what one process makes of it, computing two portions of each step."""
    folder = tmp_path_factory.mktemp("together")
    assert_trained(train(1, folder, "alone", accumulate=2), folder / "alone")
    (folder / "pairs.built").unlink()
    (folder / "pairs.parquet").unlink()
    return folder


@pytest.mark.slow
@pytest.mark.alone
def test_two_processes_train_the_model_that_one_would_have(folder: Path):
    assert_trained(train(2, folder, "two"), folder / "two")
    assert_alike(folder / "two", folder / "alone")
    assert (folder / "pairs.built").read_text() == "built\n"
    names = sorted(path.name for path in (folder / "two" / SCRATCH).iterdir())
    assert names == sorted(f"{stage}.{end}" for stage in STAGES for end in ("jsonl", "safetensors"))
    assert "curves" in json.loads((folder / "two" / FACTS).read_text())["facts"]
    model = TextPictureModel.load(folder / "two" / CANDIDATE)
    assert model.paint([Prompt(TEXTS[0])], seed=0).shape == (1, 16, 16, 3)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    ("parallel", "muon_rate"),
    [({"data": "shard", "recompute": True}, None), ({"expert": 2}, 0.02)],
    ids=["shard", "expert"],
)
def test_other_ways_to_spread_follow_the_same_curve(folder: Path, parallel, muon_rate):
    name = "-".join(parallel)
    alone = train(1, folder, f"{name}-alone", accumulate=2, muon_rate=muon_rate)
    assert_trained(alone, folder / f"{name}-alone")
    done = train(2, folder, name, parallel=parallel, muon_rate=muon_rate)
    assert_trained(done, folder / name)
    assert_alike(folder / name, folder / f"{name}-alone")


@pytest.mark.slow
@pytest.mark.alone
def test_a_killed_process_ends_all_with_a_typed_error_and_the_same_command_resumes(folder: Path):
    saved = folder / "killed" / SCRATCH / "sequences.safetensors"
    dying = {"DYING_RANK": "1", "DYING_WHEN": str(saved)}
    settings: dict[str, Any] = {"steps": 200, "checkpoint_every_steps": 50}
    broken = train(2, folder, "killed", odd=dying, **settings)
    assert broken.returncode != 0
    assert "loopwright: ProcessLost: process 0 of 2" in broken.stderr
    assert "start the same command again" in broken.stderr
    assert not (folder / "killed" / CANDIDATE).exists()
    calm = assert_trained(train(2, folder, "calm", **settings), folder / "calm")
    assert assert_trained(train(2, folder, "killed", **settings), folder / "killed") == calm


@pytest.mark.slow
@pytest.mark.alone
def test_what_two_processes_began_one_ends(folder: Path):
    saved = folder / "handed" / SCRATCH / "sequences.safetensors"
    dying = {"DYING_RANK": "1", "DYING_WHEN": str(saved)}
    broken = train(2, folder, "handed", odd=dying, parallel={"expert": 2})
    assert broken.returncode != 0
    assert saved.exists()
    lines = read_metrics(saved.with_suffix(".jsonl"))
    done = train(1, folder, "handed", accumulate=2)
    assert_trained(done, folder / "handed")
    assert read_metrics(saved.with_suffix(".jsonl"))[: len(lines)] == lines
    assert_alike(folder / "handed", folder / "alone")


@pytest.mark.slow
@pytest.mark.alone
def test_processes_with_different_corpora_are_refused(folder: Path):
    done = train(2, folder, "odd", odd={"ODD_RANK": "1"})
    assert done.returncode != 0
    assert "loopwright: corpora and settings: process 0 has" in done.stderr
    assert not (folder / "odd" / CANDIDATE).exists()


class TestRefusals:
    def test_a_learner_for_one_process_is_not_started_with_two(self, monkeypatch, tmp_path: Path):
        wanted = {"corpus": str(tmp_path / "c"), "entry": "loopwright.train.learners:wam"}
        monkeypatch.setenv("PAIRS_RECIPE", json.dumps(wanted))
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(InvalidConfig, match="torchrun started 2"):
            run_training(recipe(), tmp_path / "out", lambda *_: None)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("parallel", "message"),
        [({"pipeline": 2}, "unknown keys.*pipeline"), ({"expert": 4}, "start a multiple of 4")],
    )
    def test_impossible_ways_to_spread(self, monkeypatch, tmp_path: Path, parallel, message):
        wanted = {"corpus": str(tmp_path / "c.parquet"), "parallel": parallel}
        monkeypatch.setenv("PAIRS_RECIPE", json.dumps(wanted))
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        with pytest.raises(InvalidConfig, match=message):
            run_training(recipe(), tmp_path / "out", lambda *_: None)
