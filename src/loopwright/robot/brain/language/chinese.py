"""Chinese instructions to wishes, cut into words by the longest that is known.

::

    [谁] 把 [什么] 从 [哪里] 放到 [哪里]；[谁] 拿起 [什么]；[谁] 去 [哪里]；交换 [什么] 和 [什么]
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from loopwright.robot.brain.language import words
from loopwright.robot.brain.language.wish import Ambiguous, NotUnderstood, Phrase, Quantity, Wish

_EXAMPLE = "例如“把红色方块放到门边的托盘上”"
_PAUSES = "，。；！？,.;!?"
_TAKING = re.compile(
    r"[拿取挑选找](?![起着住到在进回至给])(?=[^，。；！？,.;!?\s]{1,12}[放搬送移带运挪摆][到在进])"
)
"""``拿两个方块放到托盘上`` is ``把两个方块放到托盘上``."""
_MARKS = (*words.CHINESE_OBJECT, *words.CHINESE_FROM)


def wishes(text: str, nouns: Iterable[str]) -> tuple[Wish, ...]:
    """Return what a text asks for, in order.

    Args:
        text: The instruction.
        nouns: Words by which things are called, with their properties.

    Raises:
        NotUnderstood: A part of it is no sentence of the language.
        Ambiguous: It does not say how many.
    """
    for turn, plain in words.CHINESE_TURNS.items():
        text = text.replace(turn, plain)
    _refuse_what_is_no_request(text)
    text = _TAKING.sub("把", text)
    found: list[Wish] = []
    for clause in _clauses(_cut(text, frozenset(nouns))):
        found.append(_wish(clause, text, found[-1] if found else None))
    if not found:
        raise NotUnderstood(f"没有说要做什么；{_EXAMPLE}")
    return tuple(found)


def _refuse_what_is_no_request(text: str) -> None:
    """Refuse words that turn a request into something else, wherever they stand."""
    for word in (*words.CHINESE_NOT, *words.CHINESE_WHEN):
        if word in text:
            raise NotUnderstood(f"不懂“{word}”；{_EXAMPLE} (no negations, conditions or times)")
    asks = "吗" in text or text.rstrip().endswith(("？", "?"))
    if asks and not any(word in text for word in words.CHINESE_POLITE):
        raise NotUnderstood(f"这是一个问题；{_EXAMPLE} (that is a question)")


def _short(nouns: frozenset[str]) -> dict[str, str]:
    """Return how nouns are shortened: ``红`` for ``红色``, ``桌`` for ``桌子``."""
    stems = {noun[:-1]: noun for noun in nouns if len(noun) == 2 and noun[-1] in "色子"}
    other = {word: noun for word, noun in words.CHINESE_SYNONYMS.items() if noun in nouns}
    return {word: noun for word, noun in {**stems, **other}.items() if word not in nouns}


def _clauses(tokens: list[str]) -> list[list[str]]:
    """Return the words of each sentence; ``和`` begins one only behind one that has a verb."""
    found: list[list[str]] = [[]]
    for place, token in enumerate(tokens):
        complete = _verb(found[-1]) is not None
        if token in words.CHINESE_AND:
            if complete and _verb(_until_pause(tokens[place + 1 :])) is not None:
                found.append([])
            else:
                found[-1].append(token)
        elif token in _PAUSES or token in words.CHINESE_JOINTS:
            if complete or token not in "，,":
                found.append([])
        else:
            found[-1].append(token)
    return [clause for clause in found if clause]


def _until_pause(tokens: list[str]) -> list[str]:
    ends = (n for n, t in enumerate(tokens) if t in _PAUSES or t in words.CHINESE_JOINTS)
    return tokens[: next(ends, len(tokens))]


def _cut(text: str, nouns: frozenset[str]) -> list[str]:
    short = _short(nouns)
    known = {
        *nouns, *short, *words.CHINESE_VERBS, *_MARKS, *words.CHINESE_NUMBERS, *words.CHINESE_ALL,
        *words.CHINESE_SOME, *words.CHINESE_JOINTS, *words.CHINESE_PLACE, words.CHINESE_OF,
        *words.CHINESE_PRONOUNS, *words.CHINESE_EXCEPT, *words.CHINESE_FILLERS, *_PAUSES,
    }  # fmt: skip
    longest = max(map(len, known))
    rest, tokens = "".join(text.lower().split()), []
    while rest:
        for length in range(min(longest, len(rest)), 0, -1):
            if rest[:length] in known:
                break
        else:
            unknown = rest[:4]
            raise NotUnderstood(f"不认识“{unknown}”；{_EXAMPLE} (unknown word {unknown!r})")
        tokens.append(short.get(rest[:length], rest[:length]))
        rest = rest[length:]
    return [t for t in tokens if t not in words.CHINESE_FILLERS]


def _verb(clause: list[str]) -> int | None:
    return next((n for n, t in enumerate(clause) if t in words.CHINESE_VERBS), None)


def _wish(clause: list[str], said: str, before: Wish | None) -> Wish:
    place = _verb(clause)
    if place is None:
        raise NotUnderstood(f"“{said}”没有认识的动词；{_EXAMPLE} (no known verb)")
    kind, after = words.CHINESE_VERBS[clause[place]], clause[place + 1 :]
    who, what, start = _before_the_verb(clause[:place], said)
    if kind == "swap":
        return Wish(kind=kind, what=_phrases(what or who or after, said))
    if kind == "hold":
        named = _phrases(what or after, said, start)
        return Wish(kind=kind, what=named, by=_subject(who, said, before))
    if not after:
        raise NotUnderstood(f"“{said}”没有说清到哪里；{_EXAMPLE} (where to?)")
    to = _phrase(after, said)
    if not what:
        # Without 把, what stands before the verb is what it is about.
        what, who = who, []
    if kind == "go":
        if after[-1] in ("去", "来") and len(after) > 1:  # "到架子那边去"
            to = _phrase(after[:-1], said)
        return Wish(kind=kind, what=_phrases(what, said, start) if what else (), to=to)
    if not what:
        raise NotUnderstood(f"“{said}”没有说清是什么；{_EXAMPLE} (what is meant?)")
    by = _subject(who, said, before)
    return Wish(kind=kind, what=_phrases(what, said, start), to=to, by=by)


def _before_the_verb(tokens: list[str], said: str) -> tuple[list[str], list[str], list[str]]:
    """Return who, what (behind 把) and from where (behind 从)."""
    parts: dict[str, list[str]] = {"who": [], "what": [], "start": []}
    into = "who"
    for token in tokens:
        if token in words.CHINESE_OBJECT:
            into = "what"
        elif token in words.CHINESE_FROM:
            into = "start"
        else:
            parts[into].append(token)
    return parts["who"], parts["what"], parts["start"]


def _subject(who: list[str], said: str, before: Wish | None) -> Phrase | None:
    if who:
        return _phrase(who, said)
    return before.by if before else None


def _phrases(tokens: list[str], said: str, start: list[str] | None = None) -> tuple[Phrase, ...]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token in words.CHINESE_AND:
            parts.append([])
        else:
            parts[-1].append(token)
    return tuple(_phrase(part, said, start) for part in parts)


def _phrase(tokens: list[str], said: str, start: list[str] | None = None) -> Phrase:
    """Return a noun phrase; what stands before 的 and is a place says where the thing is."""
    pieces: list[list[str]] = [[]]
    for token in tokens:
        if token == words.CHINESE_OF:
            pieces.append([])
        else:
            pieces[-1].append(token)
    *before, head = [piece for piece in pieces if piece] or [[]]
    where = [_place(start, said)] if start else []
    for piece in before:
        if piece[-1] in words.CHINESE_PLACE:
            where.append(_place(piece, said))
        else:
            head = [*piece, *head]
    while head and head[-1] in words.CHINESE_PLACE:
        head = head[:-1]
    pronouns = [t for t in head if t in words.CHINESE_PRONOUNS]
    rest = [t for t in head if t not in words.CHINESE_PRONOUNS]
    if pronouns and not [t for t in rest if t not in words.CHINESE_ALL]:
        return Phrase(words=(pronouns[0],), pronoun=True)
    quantity, described = _quantity(rest, said)
    if not described and quantity != "all":
        raise NotUnderstood(f"“{said}”没有说是什么；{_EXAMPLE} (what is meant?)")
    return Phrase(words=tuple(described), quantity=quantity, where=tuple(where))


def _place(tokens: list[str], said: str) -> Phrase:
    return _phrase([t for t in tokens if t not in words.CHINESE_PLACE], said)


def _quantity(tokens: list[str], said: str) -> tuple[Quantity, list[str]]:
    """Return how many; ``两个都`` is two, ``都`` alone is all."""
    quantity: Quantity = "the"
    described = []
    for token in tokens:
        if token in words.CHINESE_SOME or token in words.CHINESE_EXCEPT:
            raise Ambiguous(f"“{said}”没有说要几个 (how many, or which?)")
        if token in words.CHINESE_ALL:
            quantity = "all" if quantity == "the" else quantity
        elif token in words.CHINESE_NUMBERS:
            quantity = words.CHINESE_NUMBERS[token]
        else:
            described.append(token)
    return quantity, described
