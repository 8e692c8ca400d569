"""How far a text says what another one says."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_WORD = re.compile(
    # Scripts without spaces: a character is as near to a word as one gets without a dictionary.
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_]+"
)


def normal(text: str) -> str:
    """Return a text as texts are compared: one form of each letter, lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words_of(text: str) -> list[str]:
    """Return the words of a text, normalised, without punctuation."""
    return _WORD.findall(normal(text))


def word_f1(said: str, expected: str) -> float:
    """Return the harmonic mean of precision and recall over words, counted as often as they occur.

    1 for the same words in any order, 0 if none is shared.
    """
    said_words, expected_words = Counter(words_of(said)), Counter(words_of(expected))
    shared = (said_words & expected_words).total()
    total = said_words.total() + expected_words.total()
    return 2 * shared / total if total else 1.0
