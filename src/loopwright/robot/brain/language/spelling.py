"""Slips of the fingers: a word that is not known, and differs from one known word by a slip.

Only a letter left out, doubled up or swapped with its neighbour is mended, and only where one known
word fits. Another letter in place of one makes another word: ``bed`` is not ``red``.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

_SHORTEST = 5
"""Words shorter than this are mended only where two letters changed places."""


def corrected(word: str, known: AbstractSet[str]) -> str:
    """Return the known word that was meant, or the word as it is."""
    if word in known or not word.isalpha() or not word.isascii() or len(word) < 3:
        return word
    meant = {k for k in known if k.isalpha() and _is_a_slip(word, k)}
    return meant.pop() if len(meant) == 1 else word


def _is_a_slip(word: str, meant: str) -> bool:
    if len(word) == len(meant):
        apart = [n for n, (a, b) in enumerate(zip(word, meant, strict=True)) if a != b]
        return (
            len(apart) == 2
            and apart[1] == apart[0] + 1
            and word[apart[0]] == meant[apart[1]]
            and word[apart[1]] == meant[apart[0]]
        )
    shorter, longer = sorted((word, meant), key=len)
    if len(longer) - len(shorter) != 1 or len(shorter) < _SHORTEST - 1 or len(longer) < _SHORTEST:
        return False
    # A letter too many is a slip only where it is typed twice: "stable" is no "table".
    return any(
        longer[:n] + longer[n + 1 :] == shorter and (word == shorter or longer[n] == longer[n - 1])
        for n in range(len(longer))
    )
