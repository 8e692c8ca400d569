from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from loopwright.core.errors import MissingExtra
from loopwright.train.metrics import MLflow, TensorBoard, read_metrics
from loopwright.train.trainer import Diverged, Portion, TrainerConfig, train


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, step: int) -> None:
        self.lines.append(f"begin {step}")

    def append(self, step: int, values: Mapping[str, float]) -> None:
        assert "loss" in values
        self.lines.append(f"step {step}")

    def end(self) -> None:
        self.lines.append("end")


def run(folder: Path, mirrors, *, die_at: int | None = None) -> None:
    torch.manual_seed(0)
    module = nn.Linear(2, 1)

    def loss_at(portion: Portion):
        factor = torch.nan if portion.step == die_at else 1.0
        return factor * module.weight.square().sum(), {}

    train(
        module,
        loss_at,
        TrainerConfig(steps=6, log_every_steps=1, checkpoint_every_steps=2),
        name="run",
        identity="test",
        folder=folder,
        progress=lambda *_: None,
        mirrors=mirrors,
    )


def test_a_mirror_hears_what_the_file_holds_and_where_training_resumes(tmp_path):
    heard = Heard()
    with pytest.raises(Diverged):
        run(tmp_path, (heard,), die_at=3)
    assert heard.lines == ["begin 0", "step 0", "step 1", "step 2", "end"]
    heard.lines.clear()
    run(tmp_path, (heard,))
    assert heard.lines == ["begin 2", "step 2", "step 3", "step 4", "step 5", "end"]


def test_tensorboard_shows_every_step_once_after_a_resume(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = tmp_path / "events"
    with pytest.raises(Diverged):
        run(tmp_path, (TensorBoard(events),), die_at=3)
    run(tmp_path, (TensorBoard(events),))
    shown = accumulator.EventAccumulator(str(events)).Reload().Scalars("loss")
    lines = read_metrics(tmp_path / "run.jsonl")
    assert [(e.step, pytest.approx(e.value)) for e in shown] == [
        (line["step"], line["loss"]) for line in lines
    ]


@pytest.mark.parametrize(
    ("missing", "make"),
    [
        ("torch.utils.tensorboard", lambda folder: TensorBoard(folder)),
        ("mlflow", lambda folder: MLflow(folder, experiment="test")),
    ],
)
def test_a_mirror_that_is_not_installed_names_the_command(monkeypatch, tmp_path, missing, make):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match="pip install"):
        make(tmp_path)
