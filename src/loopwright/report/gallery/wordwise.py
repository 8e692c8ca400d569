"""Which words of two texts differ."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from loopwright.report.markup import Html, element, join

# A word, or a letter of a script without spaces, or whatever stands between.
_PIECE = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u9fff\uf900-\ufaff]+|.", re.DOTALL
)


def mark_differences(said: str, true: str) -> tuple[Html, Html]:
    """Return both texts, with ``<del>`` around words only said and ``<ins>`` around those missed.

    Case is no difference.
    """
    ours, theirs = _PIECE.findall(said), _PIECE.findall(true)
    matcher = SequenceMatcher(
        None, [p.casefold() for p in ours], [p.casefold() for p in theirs], autojunk=False
    )
    left: list[Html | str] = []
    right: list[Html | str] = []
    for what, a, b, c, d in matcher.get_opcodes():
        wrong, missed = "".join(ours[a:b]), "".join(theirs[c:d])
        left.append(wrong if what == "equal" else _marked("del", wrong))
        right.append(missed if what == "equal" else _marked("ins", missed))
    return join(*left), join(*right)


def _marked(tag: str, text: str) -> Html | str:
    return element(tag, text) if text.strip() else text
