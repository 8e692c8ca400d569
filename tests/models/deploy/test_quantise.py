"""A smaller model is loaded like any other, and is only kept while it agrees."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.cli import main
from loopwright.core.errors import DamagedData, InvalidConfig, UnsafeCandidate
from loopwright.core.interface import NO_BODY
from loopwright.core.policy import Candidate
from loopwright.models.deploy.opening import open_model, open_text_picture
from loopwright.models.deploy.quantise import Bound, Disagrees, quantise
from loopwright.models.language import LanguageModel, Sampling, load
from loopwright.models.layers.experts import Experts
from loopwright.models.layers.packed import (
    PackedExperts,
    PackedLinear,
    Ready,
    pack,
    pack_layers,
    unpack,
)
from loopwright.models.wudao.sample import Prompt
from tiny_language import make_folder
from tiny_text_picture import make_text_picture_folder

ANY = Bound(divergence_nats=100.0, agreement=0.0)


class TestPacking:
    @settings(max_examples=30)
    @given(st.integers(0, 2**31), st.floats(-20, 20), st.sampled_from([8, 4]))
    def test_no_weight_is_off_by_more_than_its_steps_allow(self, seed, exponent, bits):
        random = torch.Generator().manual_seed(seed)
        weight = torch.randn(3, 16, 64, generator=random) * 2.0**exponent
        found = unpack(*pack(weight, bits))
        if bits == 8:
            step = weight.abs().amax(dim=-1, keepdim=True) / 127
            assert ((found - weight).abs() <= 0.77 * step).all()
        else:
            # At worst a group is rounded without clipping, where only its far end is a step off.
            group, kept = weight.unflatten(-1, (-1, 32)), found.unflatten(-1, (-1, 32))
            off = (kept - group).square().mean(dim=-1).sqrt()
            assert (off <= 1.01 * group.abs().amax(dim=-1) / 8).all()

    @pytest.mark.parametrize("bits", [8, 4])
    @pytest.mark.parametrize("rows", [1, 3, 4, 5, 16, 33])
    def test_the_product_is_that_of_the_unpacked_weights(self, bits, rows):
        torch.manual_seed(0)
        codes, scale = pack(torch.randn(48, 96), bits)
        # Where a file begins in memory is no business of the product.
        shifted = torch.empty(codes.numel() + 1, dtype=codes.dtype)[1:].view_as(codes).copy_(codes)
        x = torch.randn(rows, 96)
        expected = x @ unpack(codes, scale).T
        found = Ready(shifted, scale).multiply(x)
        assert (found - expected).abs().max() < 0.02 * expected.abs().max()

    @pytest.mark.parametrize("bits", [8, 4])
    def test_experts_without_tokens_do_no_harm(self, bits):
        torch.manual_seed(0)
        experts = Experts(experts=4, width=32, hidden=64)
        x, load_E = torch.randn(7, 32), torch.tensor([3, 0, 4, 0])
        packed = PackedExperts(experts, bits)
        with torch.no_grad():
            expected = experts(x, load_E)
            error = (packed(x, load_E) - expected).abs().max() / expected.abs().max()
        assert error < (0.03 if bits == 8 else 0.3)
        assert packed(x[:0], torch.zeros(4, dtype=torch.int64)).shape == (0, 32)

    def test_a_bias_is_kept_and_zeros_stay_zero(self):
        linear = torch.nn.Linear(32, 16)
        torch.nn.init.zeros_(linear.weight)
        for bits in (8, 4):
            torch.testing.assert_close(
                PackedLinear(linear, bits)(torch.randn(2, 32)), linear.bias.expand(2, -1)
            )

    def test_it_rounds_as_torchao_does(self):
        quantization = pytest.importorskip("torchao.quantization")
        torch.manual_seed(0)
        linear = torch.nn.Linear(64, 32, bias=False)
        codes, scale = pack(linear.weight, 8)
        quantization.quantize_(linear, quantization.Int8WeightOnlyConfig())
        # Its scales are not rounded, so the last step may differ.
        assert (linear.weight.qdata.int() - codes.int()).abs().max() <= 1
        torch.testing.assert_close(linear.weight.scale[:, 0], scale.float(), rtol=8e-3, atol=0)

    def test_nothing_to_pack_is_said(self):
        with pytest.raises(InvalidConfig, match="divide by 32"):
            pack_layers(torch.nn.Linear(20, 20), 8)


@pytest.mark.parametrize(("architecture", "bits"), [("llama", 8), ("qwen3_moe", 4)])
def test_a_quantised_language_model_loads_and_speaks(tmp_path, architecture, bits):
    folder = make_folder(tmp_path / "whole", architecture)
    made = quantise(folder, tmp_path / "small", bits, rows=4, bound=ANY)
    assert made.bytes_after < 0.6 * made.bytes_before
    agreement = made.agreements["text"]
    assert agreement.largest_logit_error < (0.1 if bits == 8 else 0.8) * agreement.logit_deviation
    model = load(made.folder)
    assert model.digest == made.digest == Candidate.open(made.folder).digest
    prompt = model.encode("the sky")
    assert len(model.generate(prompt, Sampling(max_tokens=5)).tokens) <= 5
    assert model.end_tokens == load(folder).end_tokens


def test_a_quantised_painter_loads_and_paints(tmp_path):
    folder = make_text_picture_folder(tmp_path / "whole")
    made = quantise(folder, tmp_path / "small", 8, rows=4)
    assert set(made.agreements) == {"codes", "words"}
    assert made.agreements["codes"].agreement > 0.95
    model = open_text_picture(made.folder)
    image = model.paint([Prompt("red heart")], seed=0)
    assert image.shape == (1, 16, 16, 3)
    assert Candidate.open(made.folder).lineage["parent"] == Candidate.open(folder).digest


def test_a_quantised_painter_says_what_the_original_learned_from(tmp_path):
    """Otherwise nobody can look whether it had seen the items that it is scored on."""
    folder = make_text_picture_folder(tmp_path / "whole")
    known = Candidate.open(folder)
    (folder / "candidate.json").unlink()
    interface = replace(NO_BODY, rate_hz=NO_BODY.rate_hz + 1)
    Candidate.seal(
        folder,
        family=known.family,
        interface=interface,
        config=known.config,
        lineage={"corpora": ["a" * 64], "parent": "older"},
    )
    made = quantise(folder, tmp_path / "small", 8, rows=2, bound=ANY)
    small = Candidate.open(made.folder)
    assert small.interface == interface
    assert small.lineage["corpora"] == ["a" * 64]
    assert small.lineage["parent"] == Candidate.open(folder).digest


def test_a_model_that_disagrees_is_not_kept(tmp_path):
    folder = make_folder(tmp_path / "whole")
    with pytest.raises(Disagrees, match="not kept"):
        quantise(
            folder, tmp_path / "small", 4, rows=2, bound=Bound(divergence_nats=0.0, agreement=1.0)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_without_anything_to_compare_on_nothing_is_kept(tmp_path):
    folder = make_folder(tmp_path / "whole")
    with pytest.raises(InvalidConfig, match="rows is 0"):
        quantise(folder, tmp_path / "small", 8, rows=0, bound=ANY)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_packed_weight_that_was_changed_or_cut_is_named(tmp_path):
    made = quantise(make_folder(tmp_path / "whole"), tmp_path / "small", 8, rows=2, bound=ANY)
    path = made.folder / "packed.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedData, match=r"packed\.safetensors"):
        load(made.folder)
    candidate = json.loads((made.folder / "candidate.json").read_text())
    (made.folder / "candidate.json").unlink()
    config = {**candidate["config"], "bits": 3}
    Candidate.seal(made.folder, family="language", interface=NO_BODY, config=config)
    with pytest.raises(InvalidConfig, match="3 bits"):
        load(made.folder)


class TestRefusals:
    """Every verb goes through one door."""

    @pytest.fixture(scope="module")
    def whole(self, tmp_path_factory):
        return make_text_picture_folder(tmp_path_factory.mktemp("models") / "whole")

    @pytest.fixture(params=["serve", "export", "quantise", "paint", "caption"])
    def verb(self, request, tmp_path):
        (tmp_path / "picture.png").write_bytes(b"")
        more = {
            "serve": ["--port", "0"],
            "export": ["--onnx", str(tmp_path / "x.onnx")],
            "quantise": ["--out", str(tmp_path / "small")],
            "paint": ["red heart", "--out", str(tmp_path / "p.png")],
            "caption": [str(tmp_path / "picture.png")],
        }[request.param]
        return lambda folder: main([request.param, str(folder), *more])

    @pytest.fixture
    def broken(self, tmp_path):
        return make_text_picture_folder(tmp_path / "broken")

    def test_a_truncated_checkpoint(self, verb, broken, capsys):
        path = broken / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
        assert verb(broken) == 1
        assert "weights.safetensors has the digest" in capsys.readouterr().err

    def test_a_pickle(self, verb, broken, capsys):
        (broken / "weights.pt").write_bytes(b"\x80\x04N.")
        assert verb(broken) == 1
        assert "weights.pt may hold a pickle" in capsys.readouterr().err

    def test_a_manifest_of_something_else(self, verb, broken, capsys):
        Candidate.seal(broken, family="wudao", interface=NO_BODY, config={"a": 1})
        assert verb(broken) == 1
        assert "candidate.json does not describe" in capsys.readouterr().err

    def test_no_folder(self, verb, tmp_path, capsys):
        assert verb(tmp_path / "nowhere") == 2
        assert "nowhere is no folder" in capsys.readouterr().err


def test_a_pickled_language_model_is_refused(tmp_path):
    folder = make_folder(tmp_path / "whole")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeCandidate, match=r"pytorch_model\.bin"):
        open_model(folder)


def test_a_picture_is_painted_and_written_about(tmp_path, capsys):
    from PIL import Image

    folder, file = make_text_picture_folder(tmp_path / "m"), tmp_path / "p.png"
    asked = [str(folder), "red heart", "--out", str(file), "--factor", "2", "--seed", "3"]
    assert main(["paint", *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["side_px"] == 32
    model = open_text_picture(folder)
    painted = model.paint([Prompt("red heart")], seed=3, tries=4)[0]
    assert np.array_equal(np.asarray(Image.open(file))[::2, ::2], painted)
    assert main(["caption", str(folder), str(file), str(file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["text"] for each in said] == model.write(painted[None]) * 2
    assert isinstance(open_model(make_folder(tmp_path / "tiny")), LanguageModel)
