"""The few shapes that every section of a page is built from."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.report.markup import Child, Html, element


def section(name: str, title: str, lead: str | None, body: Html | None) -> Html:
    """Return a titled part of the page."""
    return element(
        "section",
        element("h2", title, id=f"{name}-title"),
        element("p", lead, class_="lead") if lead else None,
        body,
        id=name,
        aria_labelledby=f"{name}-title",
    )


def figure(svg: str | None, caption: str | None) -> Html | None:
    """Return a drawing with its caption; None when nothing was drawn."""
    words = element("figcaption", caption) if caption else None
    return element("figure", Html(svg), words) if svg else None


def grid(items: Sequence[Html | None], class_: str = "grid") -> Html | None:
    """Return items side by side where there is room; None when all are missing."""
    present = [item for item in items if item]
    return element("div", *present, class_=class_) if present else None


def badge(tone: str, sign: str, words: str) -> Html:
    """Return a coloured word; its sign says the same to those who see no colour."""
    return element(
        "span", element("span", sign, aria_hidden="true"), f" {words}", class_=f"badge {tone}"
    )


def table(
    heads: Sequence[str] | None, rows: Sequence[Sequence[Child]], class_: str | None = None
) -> Html:
    """Return a table whose cells carry their heading, so that a phone can stack them."""
    top = None
    if heads:
        cells = [element("th", head, scope="col") for head in heads]
        top = element("thead", element("tr", *cells))
    body = [
        element(
            "tr",
            *(
                element("td", cell, data_head=heads[column] if heads else None)
                for column, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    return element(
        "div", element("table", top, element("tbody", *body), class_=class_), class_="scroll"
    )


def aside(text: str) -> Html | None:
    """Return small print; None when there is none."""
    return element("small", text) if text else None
