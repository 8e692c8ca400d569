"""The text-picture model as a policy: it paints and writes what the model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from loopwright.core.canvas import PaintRequest, canvas_interface, picture_of
from loopwright.core.caption import PICTURE, CaptionRequest, caption_interface, text_of
from loopwright.core.errors import PolicyError
from loopwright.core.interface import Observation
from loopwright.core.policy import Candidate
from loopwright.models.layers.transformer import TransformerConfig
from loopwright.models.registry import load_policy
from loopwright.models.wudao.config import PictureConfig, WudaoConfig
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.policy import TextPicturePolicy
from loopwright.models.wudao.ports import PictureTokenizer
from loopwright.models.wudao.sample import FAMILY, Painting, TextPictureModel
from loopwright.models.wudao.words import Words

PICTURES = PictureConfig(
    px=16, width=32, heads=2, encoder_layers=1, decoder_layers=1, levels=(4, 3, 3)
)


@pytest.fixture(scope="module")
def model() -> TextPictureModel:
    words = Words.learn(["red heart", "blue heart"], tags=["en", "twemoji"], size=100)
    backbone = TransformerConfig(width=32, layers=1, heads=2, key_heads=2, hidden=48, causal=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Wudao(WudaoConfig(pictures=PICTURES, backbone=backbone, texts=words.size))
        # Heads start at zero; a sampler needs something to choose by.
        torch.nn.init.normal_(network.code_head.digit_LD)
        return TextPictureModel(network, PictureTokenizer(PICTURES), words)


def asked(text: str, *, language: str = "en", style: str = "twemoji") -> Observation:
    instruction = PaintRequest(text, language, style).to_instruction()
    return saying(instruction)


def saying(instruction: str) -> Observation:
    return Observation(images={}, proprio=np.zeros(1, np.float32), instruction=instruction)


def painted(policy, seed: int, text: str = "red heart") -> np.ndarray:
    policy.reset(seed)
    return policy.act(asked(text))


def test_a_candidate_paints_whole_pictures_through_the_canvas(model, tmp_path: Path):
    folder = tmp_path / "candidate"
    folder.mkdir()
    model.save(folder)
    interface = canvas_interface(16)
    Candidate.seal(folder, family=FAMILY, interface=interface, config=model.model.config.to_json())
    rows = painted(load_policy(folder), 1)
    assert np.array_equal(interface.check_chunk(rows), rows)
    assert picture_of(rows).shape == (16, 16, 3)
    assert np.array_equal(rows, painted(TextPicturePolicy(model), 1))


def test_the_seed_fixes_the_picture_and_another_gives_another(model):
    policy = TextPicturePolicy(model, Painting(temperature=1.0, guidance=1.0))
    one = painted(policy, 1)
    assert not np.array_equal(one, painted(policy, 2))
    assert np.array_equal(one, painted(policy, 1))


@pytest.mark.parametrize(
    ("observation", "complaint"),
    [
        (asked("red heart", language="fr"), "'fr'"),
        (asked("red heart", style="noto"), "'noto'"),
        (saying("press the button"), "asks for no picture"),
        (saying(""), "asks for no picture"),
    ],
)
def test_what_it_cannot_paint_is_the_policys_error(model, observation, complaint: str):
    policy = TextPicturePolicy(model)
    policy.reset(0)
    with pytest.raises(PolicyError, match=complaint):
        policy.act(observation)


def shown(picture: np.ndarray, instruction: str = "caption (en)") -> Observation:
    return Observation(
        images={PICTURE: picture}, proprio=np.zeros(1, np.float32), instruction=instruction
    )


def test_it_writes_what_the_model_writes_about_the_picture_that_is_seen(model):
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    policy = TextPicturePolicy(model)
    action = caption_interface(16).check_chunk(policy.act(shown(picture)))
    (written,) = model.write(picture[None])
    assert [text_of(row) for row in action] == [written]
    larger = np.kron(picture, np.ones((4, 4, 1), dtype=np.uint8))  # as films show it
    assert np.array_equal(policy.act(shown(larger)), action)


@pytest.mark.parametrize(
    ("side_px", "instruction", "complaint"),
    [
        (16, CaptionRequest("fr").to_instruction(), "'fr'"),
        (16, "paint (en, twemoji): red heart", "asks for no caption"),
        (16, "caption ()", "asks for no caption"),
        (24, "caption (en)", "24 px and the model sees 16"),
        (8, "caption (en)", "8 px and the model sees 16"),
    ],
)
def test_what_it_cannot_write_about_is_the_policys_error(model, side_px, instruction, complaint):
    picture = np.zeros((side_px, side_px, 3), dtype=np.uint8)
    with pytest.raises(PolicyError, match=complaint):
        TextPicturePolicy(model).act(shown(picture, instruction))
