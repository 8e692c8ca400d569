"""A scaling study of text-picture models that a laptop can make, on the emoji with their names."""

from __future__ import annotations

from loopwright.loop.config import CorpusPlan, Learner
from loopwright.recipes.scaling import ScalingStudy, Size
from loopwright.recipes.training import Training

_CORPUS = CorpusPlan(
    entry="loopwright.scenarios.emoji.pairs:build_pairs",
    config={"px": 32, "styles": ["twemoji"]},
)
_PICTURES = {"px": 32, "width": 64, "heads": 4, "encoder_layers": 1, "decoder_layers": 2}
_SMALLEST = {"width": 32, "layers": 2, "heads": 2, "hidden": 88, "mixture": None}
_WIDTHS_AND_LAYERS = ((32, 2), (48, 3), (64, 4), (96, 5))
_HEAD_WIDTH = 16


def wudao_scale() -> ScalingStudy:
    """Dense models of three sizes on three amounts of tokens, and one larger run held back.

    All share one tokenizer of pictures and one of texts, are trained with their own schedule to
    their own end, and are judged on a tenth of the drawings that none of them learns from.
    """
    *sizes, largest = (_size(width, layers) for width, layers in _WIDTHS_AND_LAYERS)
    tokens = (60_000, 160_000, 430_000)
    return ScalingStudy(
        name="wudao.scale",
        learner=Learner(
            entry="loopwright.train.wudao_family:learn",
            corpora=(_CORPUS,),
            config={"words": 800, "batch": 8, "noise": 0.0, "precision": "float32"},
        ),
        sizes=tuple(sizes),
        tokens=tokens,
        held_back=(largest, tokens[-1]),
        shared=Training(
            name="wudao.scale tokenizers",
            learner=Learner(
                entry="loopwright.train.wudao:learn",
                corpora=(_CORPUS,),
                config={
                    **_SMALLEST,
                    "pictures": _PICTURES,
                    "words": 800,
                    "picture_steps": 400,
                    # Only the tokenizers of this candidate are used.
                    "steps": 1,
                    "batch": 8,
                    "precision": "float32",
                },
            ),
        ),
        measure="loopwright.train.wudao_family:measure",
        caveats=(
            "One epoch of these drawings, each in both orders, is about 0.44 million tokens: in "
            "the longest runs a drawing comes about once in each order, the most frequent 1.8 "
            "times, so data hardly repeat here. Beyond a few epochs a token is worth less than "
            "this law says.",
        ),
    )


def _size(width: int, layers: int) -> Size:
    hidden = width * 8 // 3 // 8 * 8
    return Size(
        label=f"{width}x{layers}",
        params=_params(width, layers, hidden),
        config={
            "width": width,
            "layers": layers,
            "heads": width // _HEAD_WIDTH,
            "hidden": hidden,
            "mixture": None,
        },
    )


def _params(width: int, layers: int, hidden: int) -> int:
    """Return the weights of the layers: attention, gated feed-forward and norms."""
    norms = 2 * width + 2 * _HEAD_WIDTH
    return layers * (4 * width**2 + 3 * width * hidden + norms) + width
