"""A model of a few thousand weights that paints chance pictures and writes chance texts."""

from __future__ import annotations

from pathlib import Path

import torch

TEXTS = ("red heart", "blue heart", "green apple: cut", "Étoile", "笑脸")


def make_text_picture(*, mixture: bool = True, seed: int = 0):
    from loopwright.models.layers.mixture import MixtureConfig
    from loopwright.models.layers.transformer import TransformerConfig
    from loopwright.models.wudao.config import PictureConfig, WudaoConfig
    from loopwright.models.wudao.model import Wudao
    from loopwright.models.wudao.ports import PictureTokenizer
    from loopwright.models.wudao.sample import TextPictureModel
    from loopwright.models.wudao.words import Words

    pictures = PictureConfig(
        px=16, width=32, heads=2, encoder_layers=1, decoder_layers=1, levels=(4, 3, 3)
    )
    words = Words.learn(TEXTS, tags=["en", "zh", "twemoji"], size=200)
    sparse = MixtureConfig(experts=3, chosen=2, hidden=32, shared_hidden=32) if mixture else None
    backbone = TransformerConfig(
        width=32, layers=2, heads=2, key_heads=1, hidden=64, causal=True, mixture=sparse
    )
    torch.manual_seed(seed)
    model = Wudao(WudaoConfig(pictures=pictures, backbone=backbone, texts=words.size))
    # Heads start at zero; a sampler needs something to choose by.
    torch.nn.init.normal_(model.word_head.weight)
    torch.nn.init.normal_(model.code_head.digit_LD)
    return TextPictureModel(model, PictureTokenizer(pictures), words)


def make_text_picture_folder(folder: Path, **settings) -> Path:
    """Write a sealed candidate."""
    from loopwright.core.interface import NO_BODY
    from loopwright.core.policy import Candidate
    from loopwright.models.wudao.sample import FAMILY

    model = make_text_picture(**settings)
    folder.mkdir(parents=True)
    model.save(folder)
    config = model.model.config.to_json()
    Candidate.seal(folder, family=FAMILY, interface=NO_BODY, config=config)
    return folder
