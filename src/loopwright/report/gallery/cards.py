"""The small pieces of a gallery: a picture, a painting with its neighbours, a caption."""

from __future__ import annotations

import numpy as np

from loopwright.report import wording
from loopwright.report.gallery.png import encode_png
from loopwright.report.gallery.story import Caption, FreePrompt, Kind, Measure, Neighbour, Painting
from loopwright.report.gallery.wordwise import mark_differences
from loopwright.report.layout import badge
from loopwright.report.markup import Child, Html, data_url, element, join


def picture(pixels: np.ndarray, alt: str, *, title: str | None = None) -> Html:
    """Return uint8 ``(H, W, 3)`` as an image that stays sharp when it is enlarged."""
    height, width = pixels.shape[:2]
    return element(
        "img",
        src=data_url("image/png", encode_png(pixels)),
        alt=alt,
        title=title,
        width=width,
        height=height,
        decoding="async",
        class_="pixels",
    )


def painting(item: Painting, kind: Kind) -> Html:
    """Return a prompt with the true, restored, painted and nearest training picture."""
    name, near = item.prompt, item.nearest
    found = badge("good", "✓", "right") if item.is_right else badge("bad", "✕", "wrong")
    true_words = f"{item.true_distance:.0f}"
    return element(
        "article",
        element("header", element("h4", name, lang=item.language), found),
        element(
            "div",
            _labelled(picture(item.true, f"true picture: {name}"), "true"),
            _labelled(picture(item.restored, f"from its codes: {name}"), "from codes"),
            _labelled(
                picture(item.painted, f"painted: {name}"),
                "painted",
                element("small", f"{true_words} from true"),
                class_="painted",
            ),
            _nearest(near, is_expected=kind.is_shown),
            class_="row",
        ),
        element("p", f"nearest learned: {near.name}", class_="near-name small"),
        class_="painting",
    )


def _nearest(near: Neighbour, *, is_expected: bool) -> Html:
    if near.is_copied:
        words: Child = element(
            "small", element("b", "copy"), class_=None if is_expected else "alarm"
        )
    else:
        words = element("small", f"{near.distance:.0f} away")
    return _labelled(
        picture(near.picture, f"nearest training picture: {near.name}", title=near.name),
        "nearest",
        words,
        class_="nearest",
    )


def _labelled(image: Html, label: str, note: Child = None, *, class_: str | None = None) -> Html:
    return element(
        "figure", image, element("figcaption", element("span", label), note), class_=class_
    )


def caption(item: Caption) -> Html:
    """Return a picture with what was written about it and what it is called."""
    said, true = mark_differences(item.said, item.true)
    written = said if item.said.strip() else element("em", "nothing")
    if item.is_exact:
        words = element("p", badge("good", "✓", "exact"), " ", element("span", item.true))
    else:
        words = join(
            element("p", element("small", "wrote"), element("span", written, class_="said")),
            element("p", element("small", "true"), element("span", true, class_="true")),
        )
    return element(
        "article",
        picture(item.picture, f"picture of: {item.true}"),
        element("div", words, lang=item.language),
        class_="caption" if item.is_exact else "caption differs",
    )


def free(item: FreePrompt) -> Html:
    """Return a prompt with its paintings, the nearest training picture below each."""
    pairs = [
        element(
            "div",
            picture(painted, f"painted: {item.prompt}, try {number}"),
            picture(near.picture, f"nearest training picture: {near.name}", title=near.name),
            element(
                "small",
                near.name,
                " · ",
                element("b", "copy") if near.is_copied else f"{near.distance:.0f} away",
            ),
            class_="try",
        )
        for number, (painted, near) in enumerate(
            zip(item.painted, item.nearest, strict=True), start=1
        )
    ]
    return element(
        "article", element("h4", f"“{item.prompt}”"), element("div", *pairs, class_="tries")
    )


def measure(found: Measure | None) -> Child:
    """Return a figure with its interval below it."""
    if found is None:
        return wording.DASH
    value, low, high = (_said(x, found.unit) for x in (found.value, found.low, found.high))
    return join(element("span", value, class_="number"), element("small", f"{low} to {high}"))


def _said(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value:.0%}"
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
