"""Which experts of a text-picture model take which tokens, as its gallery tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from loopwright.models.wudao.experts import (
    DIRECTIONS,
    MODALITIES,
    expert_layers,
    expert_use,
    total_variation,
)
from loopwright.models.wudao.sample import Prompt, TextPictureModel
from loopwright.report.gallery import story as told


def expert_story(
    model: TextPictureModel, pairs: Mapping[str, tuple[Sequence[Prompt], np.ndarray]]
) -> told.ExpertStory | None:
    """Return who takes which tokens; None for a dense model.

    Args:
        model: Whose experts.
        pairs: Language to prompts and the codes of their pictures ``(B, N)``, in random order.
    """
    layers, mixture = expert_layers(model), model.model.config.backbone.mixture
    if not layers or mixture is None:
        return None
    by_language = {language: expert_use(model, *found) for language, found in pairs.items()}
    # B pairs, painting or writing, words or codes, layers, experts.
    used = np.concatenate(list(by_language.values()))
    sorts = {
        f"{direction}, {modality}": (modality, used[:, d, m])
        for d, direction in enumerate(DIRECTIONS)
        for m, modality in enumerate(MODALITIES)
    }
    spoken = {name: found[:, :, 0].sum(axis=1) for name, found in by_language.items()}
    return told.ExpertStory(
        layers=layers,
        experts=mixture.experts,
        chosen=mixture.chosen,
        groups=tuple(
            _group(name, modality, counts, mixture.chosen)
            for name, (modality, counts) in sorts.items()
        ),
        languages=tuple(
            _group(name, "words", counts, mixture.chosen) for name, counts in spoken.items()
        ),
        contrasts=(*_contrasts({n: c for n, (_, c) in sorts.items()}), *_of_languages(spoken)),
    )


def _group(name: str, modality: str, counts: np.ndarray, chosen: int) -> told.TokenGroup:
    counts = counts.sum(axis=0)
    return told.TokenGroup(
        name=name,
        modality="words" if modality == "words" else "codes",
        tokens=int(counts[0].sum()) // chosen,
        counts=counts,
    )


def _contrasts(sorts: Mapping[str, np.ndarray]) -> Sequence[told.Contrast]:
    pairs = (
        ("words and codes, painting", "painting, words", "painting, codes"),
        ("words and codes, writing", "writing, words", "writing, codes"),
        ("painting and writing, words", "painting, words", "writing, words"),
        ("painting and writing, codes", "painting, codes", "writing, codes"),
    )
    return [_contrast(name, sorts[one], sorts[other]) for name, one, other in pairs]


def _of_languages(spoken: Mapping[str, np.ndarray]) -> Sequence[told.Contrast]:
    """Set each language against all others together."""
    if len(spoken) < 2:
        return []
    return [
        _contrast(
            f"{language} and the other languages",
            counts,
            np.concatenate([other for name, other in spoken.items() if name != language]),
        )
        for language, counts in spoken.items()
    ]


def _contrast(name: str, one: np.ndarray, other: np.ndarray) -> told.Contrast:
    halves = [
        total_variation(counts[::2].sum(axis=0), counts[1::2].sum(axis=0))
        for counts in (one, other)
    ]
    return told.Contrast(
        name=name,
        variation=total_variation(one.sum(axis=0), other.sum(axis=0)),
        chance=np.maximum(*halves),
    )
