"""Heat maps of experts, drawn with plain elements so that they take on the colours of the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loopwright.report.gallery.story import Contrast, ExpertStory, TokenGroup
from loopwright.report.layout import table
from loopwright.report.markup import Html, element, join


def experts(story: ExpertStory) -> Html:
    """Return a heat map for each layer, and how differently the sorts of tokens are spread."""
    groups = [*story.groups, *(story.languages if len(story.languages) > 1 else ())]
    most = max(float(group.shares.max()) for group in groups)
    order = _by_preference(story)
    maps = [
        _layer_map(story, groups, position, order[position], most)
        for position in range(len(story.layers))
    ]
    return join(
        element("div", *maps, class_="layers"),
        _scale(most, even=1 / story.experts),
        _contrasts(story),
        None
        if len(story.languages) > 1
        else element(
            "p",
            "The model knows one language, so there is nothing to compare by language.",
            class_="small after",
        ),
    )


def _by_preference(story: ExpertStory) -> np.ndarray:
    """Return experts ordered by how much more of the words than of the codes they take."""
    lean = sum(
        group.shares if group.modality == "words" else -group.shares for group in story.groups
    )
    return np.argsort(-np.asarray(lean), axis=1, kind="stable")


def _layer_map(
    story: ExpertStory,
    groups: Sequence[TokenGroup],
    position: int,
    order: np.ndarray,
    most: float,
) -> Html:
    rows = []
    for group in groups:
        share = group.shares[position]
        cells = [
            element(
                "i",
                style=f"--share:{share[expert] / most:.3f}",
                title=f"{group.name}, expert {expert}: {share[expert]:.1%}",
            )
            for expert in order.tolist()
        ]
        rows.append(element("span", group.name))
        rows.append(element("div", *cells, role="img", aria_label=_row_words(group, share)))
    return element(
        "figure",
        element("figcaption", f"Layer {story.layers[position] + 1}"),
        element("div", *rows, class_="heat"),
    )


def _row_words(group: TokenGroup, share: np.ndarray) -> str:
    shares = ", ".join(f"{share:.0%}" for share in np.sort(share)[::-1][:3])
    return f"{group.name}: the three busiest experts get {shares}"


def _scale(most: float, *, even: float) -> Html:
    steps = [element("i", style=f"--share:{step / 10:.1f}") for step in range(11)]
    return element(
        "p",
        "0 %",
        element("span", *steps, class_="steps", aria_hidden="true"),
        f"{100 * most:.0f} % of the tokens; evenly spread {100 * even:.3g} %",
        class_="scale small",
    )


def _contrasts(story: ExpertStory) -> Html | None:
    if not story.contrasts:
        return None
    heads = ("Distance between", *(f"Layer {layer + 1}" for layer in story.layers))
    rows = [(contrast.name, *_contrast_cells(contrast)) for contrast in story.contrasts]
    groups = (*story.groups, *(story.languages if len(story.languages) > 1 else ()))
    counts = "; ".join(f"{group.name} {group.tokens:,}" for group in groups)
    return join(
        element(
            "p",
            "Total variation distance between the spreads: 0 is the same, 1 means that no expert "
            "takes both. Below it what chance alone shows, between random halves of one sort.",
            class_="after",
        ),
        table(heads, rows, "numbers"),
        element("p", f"Tokens: {counts}.", class_="small after"),
    )


def _contrast_cells(contrast: Contrast) -> list[Html]:
    return [
        join(
            element("span", f"{value:.2f}", class_="number"),
            element("small", f"chance {chance:.2f}"),
        )
        for value, chance in zip(contrast.variation, contrast.chance, strict=True)
    ]
