"""HTML that is safe by construction: text is escaped unless it is already markup."""

from __future__ import annotations

import base64
from html import escape

from loopwright.core.digest import Json

_VOID = frozenset({"br", "img", "input", "link", "meta"})


class Html(str):
    """Text that is markup, made by this module or by :mod:`loopwright.report.svg`."""

    __slots__ = ()


Child = str | None
"""Plain text, which is escaped; :class:`Html`, which is not; None, which is left out."""


def element(tag: str, *children: Child, **attributes: Json) -> Html:
    """Return one element.

    Args:
        tag: Its name.
        children: What it holds.
        attributes: ``class_`` becomes ``class`` and ``aria_label`` ``aria-label``; True is an
            attribute without value, None and False leave it out.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(str(value), quote=True)}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if tag in _VOID else f"{opening}{join(*children)}</{tag}>")


def join(*children: Child, between: str = "") -> Html:
    """Return children one after the other, escaped where they are plain text."""
    parts = [c if isinstance(c, Html) else escape(c) for c in children if c is not None]
    return Html(between.join(parts))


def data_url(media_type: str, data: bytes) -> str:
    """Return bytes as an address that needs no network."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
