from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from loopwright.core.errors import InvalidConfig, MissingExtra
from loopwright.train.metrics import read_metrics
from loopwright.train.mirrors import MLflow, TensorBoard
from loopwright.train.trainer import Diverged, Portion, TrainerConfig, train


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, name: str, step: int) -> None:
        self.lines.append(f"begin {name} {step}")

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
    assert heard.lines == ["begin run 0", "step 0", "step 1", "step 2", "end"]
    heard.lines.clear()
    run(tmp_path, (heard,))
    assert heard.lines == ["begin run 2", "step 2", "step 3", "step 4", "step 5", "end"]


class Failing(Heard):
    def __init__(self, at: str) -> None:
        super().__init__()
        self.at = at

    def begin(self, name: str, step: int) -> None:
        self._fail("begin")

    def append(self, step: int, values: Mapping[str, float]) -> None:
        super().append(step, values)
        if step == 2:
            self._fail("append")

    def end(self) -> None:
        self._fail("end")

    def _fail(self, here: str) -> None:
        if here == self.at:
            raise ConnectionError("the server is gone")


@pytest.mark.parametrize("at", ["append", "end"])
def test_a_mirror_that_fails_is_left_out_and_training_goes_on(tmp_path, caplog, at):
    failing, heard = Failing(at), Heard()
    run(tmp_path, (failing, heard))
    assert failing.lines[-1] == ("step 2" if at == "append" else "step 5")
    assert heard.lines[-2:] == ["step 5", "end"]
    assert [line["step"] for line in read_metrics(tmp_path / "run.jsonl")] == list(range(6))
    (warned,) = caplog.messages
    assert "Failing shows no more metrics" in warned
    assert "the server is gone" in warned


def test_a_mirror_that_cannot_begin_is_refused_before_a_step(tmp_path):
    with pytest.raises(InvalidConfig, match="Failing cannot show metrics: the server is gone"):
        run(tmp_path, (Failing("begin"),))
    run(tmp_path, ())


def test_tensorboard_shows_every_step_once_after_a_resume(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = tmp_path / "events"
    with pytest.raises(Diverged):
        run(tmp_path, (TensorBoard(events),), die_at=3)
    run(tmp_path, (TensorBoard(events),))
    shown = accumulator.EventAccumulator(str(events / "run")).Reload().Scalars("loss")
    lines = read_metrics(tmp_path / "run.jsonl")
    assert [(e.step, pytest.approx(e.value)) for e in shown] == [
        (line["step"], line["loss"]) for line in lines
    ]


def test_a_resumed_training_goes_on_in_the_same_run_of_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # what else would need a server
    address = (tmp_path / "mlruns").as_uri()
    mirror = MLflow(tmp_path / "aside", experiment="test", address=address)
    with pytest.raises(Diverged):
        run(tmp_path, (mirror,), die_at=3)
    run(tmp_path, (mirror,))
    client = mlflow.MlflowClient(tracking_uri=address)
    (only,) = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    shown = client.get_metric_history(only.info.run_id, "loss")
    assert (only.info.run_name, {each.step for each in shown}) == ("run", set(range(6)))


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
