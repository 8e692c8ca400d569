from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loopwright.models.layers.mixture import MixtureConfig
from loopwright.models.layers.transformer import TransformerConfig
from loopwright.models.wudao.config import PictureConfig, WudaoConfig
from loopwright.models.wudao.experts import (
    DIRECTIONS,
    MODALITIES,
    expert_layers,
    expert_use,
    total_variation,
)
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.ports import PictureTokenizer
from loopwright.models.wudao.sample import Prompt, TextPictureModel
from loopwright.models.wudao.words import Words

PICTURES = PictureConfig(
    px=8, width=16, heads=2, encoder_layers=1, decoder_layers=1, levels=(4, 3, 3)
)
PROMPTS = [Prompt("red heart"), Prompt("a very green apple: cut"), Prompt("Herz", language="de")]
CODES = np.random.default_rng(0).integers(36, size=(3, 4))
MIXTURE = MixtureConfig(experts=5, chosen=2, hidden=8)


def model(mixture: MixtureConfig | None = MIXTURE) -> TextPictureModel:
    torch.manual_seed(0)
    texts = [prompt.text for prompt in PROMPTS]
    words = Words.learn(texts, tags=["de", "en", "twemoji"], size=100)
    backbone = TransformerConfig(
        width=16, layers=3, heads=2, key_heads=2, hidden=16, causal=True, mixture=mixture
    )
    config = WudaoConfig(pictures=PICTURES, backbone=backbone, texts=words.size)
    return TextPictureModel(Wudao(config), PictureTokenizer(PICTURES), words)


def test_every_word_and_code_is_counted_once_for_each_chosen_expert_and_no_mark_is():
    asked = model()
    used = expert_use(asked, PROMPTS, CODES)
    assert used.shape == (3, len(DIRECTIONS), len(MODALITIES), 2, 5)
    for number, prompt in enumerate(PROMPTS):
        words = len(asked.words.encode(prompt.text))
        assert (used[number, :, 0].sum(axis=-1) == 2 * words).all()
        assert (used[number, :, 1].sum(axis=-1) == 2 * CODES.shape[1]).all()
    assert expert_layers(asked) == (1, 2), "the first layer is dense"


def test_a_pair_goes_the_same_way_alone_and_beside_longer_ones():
    asked = model()
    together = expert_use(asked, PROMPTS, CODES)
    alone = [expert_use(asked, PROMPTS[i : i + 1], CODES[i : i + 1]) for i in range(3)]
    assert np.array_equal(together, np.concatenate(alone))


def test_experts_are_named_as_the_router_numbers_them():
    asked = model()
    for mixture in (m for m in asked.model.modules() if hasattr(m, "router")):
        mixture.router.bias_E[:] = torch.tensor([0.0, 0.0, 9.0, 0.0, 8.0])
    used = expert_use(asked, PROMPTS, CODES).sum(axis=(0, 1, 2))
    assert (used[:, [2, 4]] > 0).all()
    assert (used[:, [0, 1, 3]] == 0).all()


def test_words_and_codes_are_told_apart():
    """A router that looks at nothing but which of the two a token is."""
    asked = model()
    words_only = expert_use(asked, PROMPTS, CODES)
    with torch.no_grad():
        # Codes lie far from words in one direction, which the first sparse layer reads.
        asked.model.code.own_CD[:, 0] += 50.0
        for mixture in (m for m in asked.model.modules() if hasattr(m, "router")):
            mixture.router.score.weight.zero_()
            mixture.router.score.weight[0:2, 0] = 1.0
            mixture.router.score.weight[2:4, 0] = -1.0
    used = expert_use(asked, PROMPTS, CODES).sum(axis=0)
    assert words_only.sum() == used.sum()
    assert (used[:, 1, :, 0:2] > 0).all()
    assert (used[:, 1, :, 2:] == 0).all()


def test_a_dense_model_has_no_experts():
    asked = model(None)
    assert expert_layers(asked) == ()
    assert expert_use(asked, PROMPTS, CODES).shape == (3, 2, 2, 0, 0)


COUNTS = st.lists(st.integers(1, 1000), min_size=4, max_size=4)


@given(COUNTS, COUNTS, st.integers(1, 9))
def test_the_distance_of_spreads_is_a_distance_and_knows_no_totals(one, other, factor):
    a, b = np.array(one), np.array(other)
    assert total_variation(a, factor * a) == pytest.approx(0, abs=1e-12)
    assert 0 <= total_variation(a, b) < 1
    assert total_variation(a, b) == pytest.approx(float(total_variation(b, factor * a)))


def test_spreads_without_a_shared_expert_are_one_apart():
    found = total_variation(np.array([[3, 0], [1, 1]]), np.array([[0, 5], [2, 0]]))
    assert found == pytest.approx([1.0, 0.5])
