"""A folder holds one training: it may be divided anew when it goes on, and is no other."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from pairs_recipe import recipe

from loopwright.cli import main
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError
from loopwright.core.learner import shaping_of
from loopwright.core.policy import Candidate
from loopwright.recipes.training import CANDIDATE, FACTS, SCRATCH, run_training
from loopwright.train.metrics import read_metrics
from loopwright.train.wudao import learn


class Stopped(Exception):
    """What interrupts a training here."""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that trains the tiny model as told, and returns its digest."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    def started(out: str, *, stop_at: float = 2.0, **wanted: Any) -> object:
        given = {"corpus": str(tmp_path / "pairs.parquet"), **wanted}
        monkeypatch.setenv("PAIRS_RECIPE", json.dumps(given))

        def progress(fraction: float, message: str) -> None:
            if fraction > stop_at:
                raise Stopped

        return run_training(recipe(), tmp_path / out, progress)["candidate"]

    return started


def test_it_goes_on_divided_otherwise_and_ends_at_the_same_bytes(start, tmp_path: Path):
    calm = start("calm")
    with pytest.raises(Stopped):
        start("stopped", stop_at=0.5)
    other_ways = {"checkpoint_every_steps": 3, "parallel": {"patience_s": 60.0}}
    assert start("stopped", **other_ways) == calm
    assert start("stopped", accumulate=2) == calm  # finished: nothing is trained again
    kept = json.loads((tmp_path / "stopped" / FACTS).read_text())
    assert kept["plan"]["learner"]["config"]["parallel"] == {"patience_s": 60.0}


def test_other_settings_are_refused_by_name(start, tmp_path: Path):
    with pytest.raises(Stopped):
        start("out", stop_at=0.5)
    before = (tmp_path / "out" / FACTS).read_bytes()
    wanted = {"steps": 12, "mixture": {"experts": 2, "chosen": 2, "hidden": 96}, "accumulate": 2}
    with pytest.raises(InvalidConfig) as refused:
        start("out", **wanted)
    told = str(refused.value)
    assert "learner.config.steps is 12, there 11" in told
    assert "learner.config.mixture.experts is 2, there 4" in told
    assert "accumulate" not in told
    assert (tmp_path / "out" / FACTS).read_bytes() == before


def test_a_teacher_counts_by_what_it_is_and_how_much_it_says(start, tmp_path: Path):
    start("teacher")
    here, there = tmp_path / "teacher" / CANDIDATE, tmp_path / "moved"
    shutil.copytree(here, there)
    config = recipe().learner.config

    def shaping(**teacher: Any):
        return shaping_of(learn, {**config, "teacher": teacher})

    assert shaping(path=str(here)) == shaping(path=str(there))
    assert shaping(path=str(here)) != shaping(path=str(here), share=0.25)
    assert Candidate.open(there).digest in json.dumps(shaping(path=str(there)))


def test_the_command_shows_both_stages_in_tensorboard(tmp_path: Path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("PAIRS_RECIPE", json.dumps({"corpus": str(tmp_path / "pairs.parquet")}))
    out = tmp_path / "out"
    path = Path(__file__).with_name("pairs_recipe.py")
    assert main(["train", str(path), "--out", str(out), "--mirror", "tensorboard"]) == 0
    assert sorted(os.listdir(out / "tensorboard")) == ["pictures", "sequences"]
    for stage in ("pictures", "sequences"):
        events = str(out / "tensorboard" / stage)
        shown = accumulator.EventAccumulator(events).Reload().Scalars("loss")
        lines = read_metrics(out / SCRATCH / f"{stage}.jsonl")
        assert [(e.step, pytest.approx(e.value)) for e in shown] == [
            (line["step"], line["loss"]) for line in lines
        ]


class TestFoldersThatCannotBeUsed:
    def test_a_file_in_the_place_of_the_folder(self, start, tmp_path: Path):
        (tmp_path / "out").write_text("a file")
        with pytest.raises(StorageError, match=r"out cannot be made: .*choose another --out"):
            start("out")

    def test_damaged_facts(self, start, tmp_path: Path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / FACTS).write_text("{")
        with pytest.raises(DamagedData, match=r"training\.json cannot be read"):
            start("out")
