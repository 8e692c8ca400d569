"""Chinese instructions to wishes, cut into words by the longest that is known."""

from __future__ import annotations

from collections.abc import Iterable

from loopwright.robot.brain.language import words
from loopwright.robot.brain.language.wish import NotUnderstood, Phrase, Quantity, Wish

_EXAMPLE = "例如“把红色方块放到门边的托盘上”"
_PAUSES = "，。；、！,.;!"


def wishes(text: str, nouns: Iterable[str]) -> tuple[Wish, ...]:
    """Return what a text asks for, in order.

    Args:
        text: The instruction.
        nouns: Words by which things are called, with their properties.

    Raises:
        NotUnderstood: A part of it is no sentence of the language.
    """
    tokens = _cut(text, frozenset(nouns))
    found: list[Wish] = []
    clause: list[str] = []
    for place, token in enumerate(tokens):
        after = tokens[place + 1 : place + 2]
        begins = not after or after[0] in words.CHINESE_OBJECT + tuple(words.CHINESE_VERBS)
        if token in _PAUSES or (token in words.CHINESE_JOINTS and begins):
            if clause:
                found.append(_wish(clause, text))
            clause = []
        else:
            clause.append(token)
    if clause:
        found.append(_wish(clause, text))
    if not found:
        raise NotUnderstood(f"没有说要做什么；{_EXAMPLE}")
    return tuple(found)


def _cut(text: str, nouns: frozenset[str]) -> list[str]:
    known = {
        *nouns, *words.CHINESE_VERBS, *words.CHINESE_OBJECT, *words.CHINESE_NUMBERS,
        *words.CHINESE_ALL, *words.CHINESE_JOINTS, *words.CHINESE_FILLERS, *_PAUSES,
    }  # fmt: skip
    longest = max(map(len, known))
    rest, tokens = "".join(text.split()), []
    while rest:
        for length in range(min(longest, len(rest)), 0, -1):
            if rest[:length] in known:
                break
        else:
            unknown = rest[:4]
            raise NotUnderstood(f"不认识“{unknown}”；{_EXAMPLE} (unknown word {unknown!r})")
        tokens.append(rest[:length])
        rest = rest[length:]
    return [t for t in tokens if t not in words.CHINESE_FILLERS]


def _wish(clause: list[str], said: str) -> Wish:
    verbs = [n for n, t in enumerate(clause) if t in words.CHINESE_VERBS]
    if not verbs:
        raise NotUnderstood(f"“{said}”没有认识的动词；{_EXAMPLE} (no known verb)")
    place = verbs[0]
    kind = words.CHINESE_VERBS[clause[place]]
    before = [t for t in clause[:place] if t not in words.CHINESE_OBJECT]
    after = clause[place + 1 :]
    if kind == "hold":
        return Wish(kind="hold", what=_phrase(before or after, said))
    if not before or not after:
        raise NotUnderstood(f"“{said}”没有说清把什么放到哪里；{_EXAMPLE} (what, or where to?)")
    return Wish(kind=kind, what=_phrase(before, said), to=_phrase(after, said))


def _phrase(tokens: list[str], said: str) -> Phrase:
    quantity: Quantity = "the"
    described = []
    for token in tokens:
        if token in words.CHINESE_ALL:
            quantity = "all"
        elif token in words.CHINESE_NUMBERS:
            quantity = words.CHINESE_NUMBERS[token]
        else:
            described.append(token)
    if not described and quantity != "all":
        raise NotUnderstood(f"“{said}”没有说是什么；{_EXAMPLE} (what is meant?)")
    return Phrase(words=tuple(described), quantity=quantity)
