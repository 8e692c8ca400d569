"""The tokenizer of torsions, and a model that speaks of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import NO_BODY
from loopwright.core.policy import Candidate
from loopwright.models.layers.transformer import TransformerConfig
from loopwright.models.wudao.config import StructureConfig, WudaoConfig
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.sample import TextPictureModel
from loopwright.models.wudao.structures import (
    LANGUAGE,
    RESIDUES,
    StructureModel,
    StructureTokenizer,
    as_sequence,
    as_text,
)
from loopwright.models.wudao.words import Words

ANGLES = st.floats(-100.0, 100.0, width=32) | st.just(math.nan)
BINS = st.lists(st.integers(2, 40), min_size=2, max_size=3).map(tuple)


@given(torsion_NA=arrays(np.float32, (5, 3), elements=ANGLES), bins=BINS)
def test_torsions_come_back_within_half_a_step_and_missing_ones_as_missing(torsion_NA, bins):
    tokenizer = StructureTokenizer(StructureConfig(residues=5, bins=bins))
    seen_NA = torsion_NA[:, : len(bins)]
    code_BN = tokenizer.encode(torch.from_numpy(torsion_NA)[None])
    assert (code_BN >= 0).all()
    assert (code_BN < tokenizer.config.codes).all()
    back_NA = tokenizer.decode(code_BN)[0].numpy()
    np.testing.assert_array_equal(np.isnan(back_NA), np.isnan(seen_NA))
    off = np.abs(np.exp(1j * back_NA.astype(float)) - np.exp(1j * seen_NA.astype(float)))
    half_step = np.broadcast_to(np.pi / np.array(bins), off.shape)
    there = ~np.isnan(seen_NA)
    assert (off[there] <= 2 * np.sin(half_step[there] / 2) + 1e-4).all()


@given(code=st.integers(0, 25 * 25 * 3 - 1))
def test_every_code_comes_back_as_itself(code):
    tokenizer = StructureTokenizer(StructureConfig(residues=1, bins=(24, 24, 2)))
    code_BN = torch.tensor([[code]])
    assert torch.equal(tokenizer.encode(tokenizer.decode(code_BN)), code_BN)


def test_angles_on_both_sides_of_the_seam_get_one_code():
    tokenizer = StructureTokenizer(StructureConfig(residues=2))
    torsion = torch.tensor([[[math.pi - 0.01, 0.0], [-math.pi + 0.01, 0.0]]])
    first, second = tokenizer.encode(torsion)[0].tolist()
    assert first == second


@pytest.mark.parametrize("wrong", [{"residues": 0}, {"bins": (24,)}, {"bins": (24, 1)}])
def test_sizes_without_sense_are_refused(wrong):
    with pytest.raises(InvalidConfig):
        StructureConfig(**wrong)


STRETCH = StructureConfig(residues=6, bins=(8, 8))


def model() -> StructureModel:
    words = Words.learn([as_text(RESIDUES)] * 3, tags=[LANGUAGE, "pdb"], size=64)
    backbone = TransformerConfig(
        width=16, layers=2, heads=2, key_heads=2, hidden=32, causal=True, normalise_heads=True
    )
    config = WudaoConfig(pictures=STRETCH, backbone=backbone, texts=words.size, text_tokens=6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return StructureModel(Wudao(config), StructureModel.tokenizer(config), words)


def test_each_residue_is_a_token_and_comes_back():
    words = model().words
    tokens = words.encode(as_text(RESIDUES))
    assert len(tokens) == len(RESIDUES) == len(set(tokens))
    assert as_sequence(words.decode(tokens)) == RESIDUES


def test_sequences_fold_to_torsions_and_torsions_are_read():
    speaks = model()
    torsion_BNA = speaks.fold(["ACDEFG", "GFEDCA"], style="pdb", seed=1)
    assert torsion_BNA.shape == (2, 6, 2)
    np.testing.assert_array_equal(
        torsion_BNA, speaks.fold(["ACDEFG", "GFEDCA"], style="pdb", seed=1)
    )
    assert len(speaks.read(torsion_BNA)) == 2


@pytest.mark.parametrize("sequence", ["ACDEF", "ACDEFX"])
def test_a_sequence_of_another_length_or_with_unknown_letters_is_refused(sequence):
    with pytest.raises(InvalidConfig, match="cut longer chains"):
        model().fold([sequence], style="pdb", seed=0)


def test_a_candidate_is_read_back_and_is_no_painter(tmp_path):
    saved = model()
    saved.save(tmp_path)
    config = saved.model.config.to_json()
    Candidate.seal(tmp_path, family="structure", interface=NO_BODY, config=config)
    loaded = StructureModel.load(tmp_path)
    assert loaded.pictures.config == STRETCH
    drawn = [m.fold(["ACDEFG"], style="pdb", seed=3) for m in (saved, loaded)]
    np.testing.assert_array_equal(*drawn)
    with pytest.raises(InvalidConfig, match="structure"):
        TextPictureModel.load(tmp_path)


def test_a_text_must_have_room_for_every_residue():
    with pytest.raises(InvalidConfig, match="text_tokens is 5"):
        WudaoConfig(
            pictures=STRETCH, backbone=model().model.config.backbone, texts=9, text_tokens=5
        )
