"""What is exported says what the original says, or is not written."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from loopwright.cli import main
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import CameraSpec, Interface, VectorSpec
from loopwright.models.deploy.graphs import policy_graphs, text_picture_graphs
from loopwright.models.deploy.onnx import FLOAT_BOUND, NotExported, _export, export_onnx
from loopwright.models.deploy.quantise import Bound, quantise
from loopwright.models.language import load
from loopwright.models.wam.config import sized
from loopwright.models.wam.model import Wam
from loopwright.models.wam.sample import WamPolicy
from tiny_language import make_folder
from tiny_text_picture import make_text_picture, make_text_picture_folder

onnxruntime = pytest.importorskip("onnxruntime")
# The exporter uses names that its own libraries have renamed.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def run(file, **inputs) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def test_a_language_model_answers_in_onnx_as_in_torch(tmp_path, capsys):
    folder = make_folder(tmp_path / "tiny")
    assert main(["export", str(folder), "--onnx", str(tmp_path / "x.onnx"), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["errors"]["logits"] <= said["bounds"]["logits"] == FLOAT_BOUND
    tokens = torch.arange(60).reshape(4, 15)
    (found,) = run(tmp_path / "x.onnx", tokens=tokens.numpy())
    np.testing.assert_allclose(found, load(folder).logits(tokens).numpy(), atol=1e-4)


@pytest.mark.slow
def test_experts_of_a_language_model_are_exported_too(tmp_path):
    folder = make_folder(tmp_path / "tiny", "qwen3_moe")
    (made,) = export_onnx(folder, tmp_path / "x.onnx")
    assert made.errors["logits"] < FLOAT_BOUND
    assert any("experts" in note for note in made.notes)


@pytest.mark.slow
def test_a_painter_paints_through_its_three_files(tmp_path):
    folder = make_text_picture_folder(tmp_path / "m")
    made = export_onnx(folder, tmp_path / "x.onnx")
    names = ["x-encoder.onnx", "x-decoder.onnx", "x-step.onnx"]
    assert [each.file.name for each in made] == names
    model = make_text_picture()
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    (codes,) = run(tmp_path / names[0], image=image)
    assert np.array_equal(codes, model.encode(image))
    (again,) = run(tmp_path / names[1], codes=codes)
    assert np.abs(again.astype(int) - model.decode(codes).astype(int)).max() <= 1


def test_experts_in_their_plain_form_say_the_same():
    *_, step = text_picture_graphs(make_text_picture())
    with torch.no_grad():
        for inputs, expected in zip(step.checks, step.expected, strict=True):
            for mine, its in zip(step.module(**inputs), expected, strict=True):
                torch.testing.assert_close(mine, its, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_policy_acts_in_onnx_as_in_torch(tmp_path):
    side = VectorSpec(names=("x",), units=("m",), low=(-1.0,), high=(1.0,))
    camera = CameraSpec(name="front", height_px=32, width_px=32)
    interface = Interface(cameras=(camera,), proprio=side, action=side, rate_hz=10.0)
    torch.manual_seed(0)
    model = Wam(sized("tiny", interface, ("push", "pull")))
    (graph,) = policy_graphs(WamPolicy(model, interface, use_proprio=True))
    made = _export(graph, tmp_path / "x.onnx", onnxruntime)
    assert made.errors["actions"] <= FLOAT_BOUND


def test_what_says_something_else_is_not_kept(tmp_path):
    _, decoder, _ = text_picture_graphs(make_text_picture())
    wrong = replace(decoder, expected=tuple((255 - e,) for (e,) in decoder.expected))
    with pytest.raises(NotExported, match="'image' of decoder is off"):
        _export(wrong, tmp_path / "x.onnx", onnxruntime)
    assert not list(tmp_path.iterdir())


def test_packed_weights_are_not_exported(tmp_path):
    bound = Bound(divergence_nats=9.0, agreement=0.0)
    made = quantise(make_text_picture_folder(tmp_path / "m"), tmp_path / "s", 8, bound=bound)
    with pytest.raises(InvalidConfig, match="packed in 8 or 4 bits"):
        export_onnx(made.folder, tmp_path / "x.onnx")
