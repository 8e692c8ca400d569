"""The text-picture model on the emoji with their names at four sizes, one of them also dense.

Two more sizes are on paper.
"""

from __future__ import annotations

from dataclasses import replace

from loopwright.core.digest import Json
from loopwright.loop.config import CorpusPlan, Learner
from loopwright.recipes.training import Training

_LEARN = "loopwright.train.wudao:learn"
_PAIRS = "loopwright.scenarios.emoji.pairs:build_pairs"
TEN_LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "ja", "ko", "ru", "zh")


def tiny() -> Training:
    """A minute on one core: shows that everything is in its place, and paints blobs."""
    return Training(
        name="wudao.tiny",
        learner=Learner(
            entry=_LEARN,
            corpora=(CorpusPlan(entry=_PAIRS, config={"px": 16, "styles": ["twemoji"]}),),
            config={
                "pictures": {
                    "px": 16,
                    "width": 64,
                    "heads": 2,
                    "encoder_layers": 1,
                    "decoder_layers": 2,
                },
                "width": 96,
                "heads": 3,
                "layers": 3,
                "hidden": 256,
                "mixture": {"experts": 4, "chosen": 2, "hidden": 96, "bias_rate": 0.01},
                "picture_steps": 200,
                "steps": 250,
                "batch": 32,
            },
        ),
    )


def laptop() -> Training:
    """Forty CPU-minutes on one core: reads and paints one style in English."""
    return Training(
        name="wudao.laptop",
        learner=Learner(
            entry=_LEARN,
            corpora=(CorpusPlan(entry=_PAIRS, config={"px": 32, "styles": ["twemoji"]}),),
            config={
                # Codes that do not depend on the rest of the picture carry what is learned of a
                # skin tone on one person over to the next; they have to be more, to look as good.
                "pictures": {"encoder_sees": "patch", "decoder_layers": 4, "levels": [8, 8, 6, 5]},
                "picture_steps": 1500,
                "steps": 2200,
                # Weighed by family, a person in one tone was shown a third as often as an object:
                # too rarely to be told apart from the same person of another gender.
                "weight_power": 0.0,
                "paint_share": 0.6,
            },
        ),
    )


def laptop_dense() -> Training:
    """The same without experts, for as many CPU-seconds; at this size it learns more in them."""
    sparse = laptop()
    config = {**sparse.learner.config, "mixture": None, "hidden": 384, "steps": 2700}
    return replace(
        sparse, name="wudao.laptop-dense", learner=replace(sparse.learner, config=config)
    )


def gpu() -> Training:
    """Half an hour on one accelerator: three styles, ten languages, 64 px."""
    return Training(
        name="wudao.gpu",
        learner=Learner(
            entry=_LEARN,
            corpora=(
                CorpusPlan(entry=_PAIRS, config={"px": 64, "languages": list(TEN_LANGUAGES)}),
            ),
            config={
                "device": "auto",
                "pictures": {
                    "px": 64,
                    "width": 384,
                    "heads": 6,
                    "encoder_layers": 4,
                    "decoder_layers": 6,
                    "levels": [8, 8, 8, 5, 5],
                },
                "width": 768,
                "heads": 12,
                "layers": 12,
                "hidden": 2048,
                "mixture": {
                    "experts": 32,
                    "chosen": 4,
                    "hidden": 256,
                    "shared_hidden": 256,
                    "bias_rate": 0.001,
                },
                "words": 8000,
                "text_tokens": 40,
                "picture_steps": 8000,
                "picture_batch": 256,
                "picture_rate": 1e-3,
                "steps": 12000,
                "batch": 256,
            },
        ),
    )


def cluster_1b() -> Training:
    """1.8 thousand million weights for one node of 8 accelerators. Planned, never trained."""
    return _cluster(
        "wudao.cluster-1b",
        {
            "width": 1536,
            "layers": 24,
            "heads": 12,
            "hidden": 6144,
            "mixture": {
                "experts": 16,
                "chosen": 2,
                "hidden": 768,
                "shared_hidden": 768,
                "bias_rate": 0.001,
            },
            "words": 32000,
            "batch": 128,
            "learning_rate": 3e-4,
            "parallel": {"data": "shard", "expert": 2},
        },
    )


def cluster_1t() -> Training:
    """The 1.75 million million weights of Wu Dao 2.0, for 1,024 accelerators. Planned alone."""
    return _cluster(
        "wudao.cluster-1t",
        {
            "width": 6144,
            "layers": 61,
            "heads": 48,
            "hidden": 16384,
            "mixture": {
                "experts": 256,
                "chosen": 8,
                "hidden": 6144,
                "shared_hidden": 6144,
                "bias_rate": 0.001,
            },
            "words": 64000,
            "batch": 4096,
            "learning_rate": 1e-4,
            "parallel": {"data": "shard", "expert": 64, "recompute": True},
        },
    )


def _cluster(name: str, decoder: dict[str, Json]) -> Training:
    """Pictures of 256 px in 1,024 codes, texts of at most 252 tokens: 1,280 tokens a sequence."""
    return Training(
        name=name,
        learner=Learner(
            entry=_LEARN,
            corpora=(
                CorpusPlan(entry=_PAIRS, config={"px": 256, "languages": list(TEN_LANGUAGES)}),
            ),
            config={
                "device": "auto",
                "precision": "bfloat16",
                "pictures": {
                    "px": 256,
                    "patch_px": 8,
                    "width": 768,
                    "heads": 12,
                    "encoder_layers": 8,
                    "decoder_layers": 12,
                    "levels": [8, 8, 8, 5, 5],
                },
                "text_tokens": 252,
                # Shares of a matrix are no matrix, which is what Muon works on.
                "muon_rate": None,
                "picture_batch": 1024,
                "steps": 100_000,
                **decoder,
            },
        ),
    )
