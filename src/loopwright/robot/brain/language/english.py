"""English instructions to wishes.

::

    [somebody] [should] verb [which things] [from where] [to where]   bring, take, pick, send, ...
    make sure [which things] are [where]; swap [this] and [that]; hand [this] to [somebody]
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from loopwright.robot.brain.language import words
from loopwright.robot.brain.language.spelling import corrected
from loopwright.robot.brain.language.wish import (
    Ambiguous,
    NotUnderstood,
    Phrase,
    Quantity,
    Wish,
    WishKind,
)

_EXAMPLE = "such as 'bring the red cube to the tray by the door'"
_ENDS = ".;!?"
_TURNS = re.compile(
    "|".join(
        rf"(?<![\w-]){re.escape(t)}(?![\w-])" if t[0].isalpha() else re.escape(t)
        for t in sorted(words.ENGLISH_TURNS, key=len, reverse=True)
    )
)
_TOKEN = re.compile(r"[a-z]+(?:-[a-z0-9]+)*|\d+|[.;,!?]|[^\s\w]+|\w+")
_STRONG = ("to", "onto", "into", "against")
_GROUPS = (("to",), ("onto", "into", "against"), ("on", "in"), ("at", "by"))
"""Prepositions of a destination, the surest first."""


def wishes(text: str, nouns: Iterable[str] = ()) -> tuple[Wish, ...]:
    """Return what a text asks for, in order.

    Args:
        text: The instruction.
        nouns: Words by which things are called; small slips in them are mended.

    Raises:
        NotUnderstood: A part of it is no sentence of the language.
        Ambiguous: It does not say how many, or who.
    """
    found: list[Wish] = []
    for clause in _clauses(_tokens(text, frozenset(nouns))):
        wish = _wish(clause, found[-1] if found else None)
        found.append(wish)
    if not found:
        raise NotUnderstood(f"nothing is asked for; say what to do, {_EXAMPLE}")
    return tuple(found)


def _tokens(text: str, nouns: frozenset[str]) -> list[str]:
    plain = text.lower().replace("’", "'")
    for _ in range(2):  # a turn may begin another one
        plain = _TURNS.sub(lambda m: words.ENGLISH_TURNS[m[0]], plain)
    known = _known() | nouns
    tokens = [
        token if token in known else words.ENGLISH_SYNONYMS.get(token, corrected(token, known))
        for token in _TOKEN.findall(plain)
    ]
    tokens = _without_contrast(_mind(tokens), nouns)
    _refuse_what_is_no_request(tokens)
    return [
        token
        for token, after in zip(tokens, (*tokens[1:], ""), strict=False)
        if token not in words.ENGLISH_FILLERS
        and not (token in words.ENGLISH_SPEAKER and after in ("want", "need", "must"))
    ]


def _mind(tokens: list[str]) -> list[str]:
    """Return ``would you mind moving`` as ``would you move``."""
    found: list[str] = []
    for token in tokens:
        if found and found[-1] == "mind" and token.endswith("ing"):
            stem = token[:-3]
            verbs = (v for v in (stem, f"{stem}e", stem[:-1]) if v in words.ENGLISH_VERBS)
            found[-1] = next(verbs, token)
        else:
            found.append(token)
    return found


def _without_contrast(tokens: list[str], nouns: frozenset[str]) -> list[str]:
    """Return ``on the shelf, not on the table`` without what the first place says already.

    Only a known place is left out: ``not on monday`` says something else.
    """
    for place in range(1, len(tokens) - 2):
        if tokens[place : place + 2] != [",", "not"] or tokens[place + 2] not in words.ENGLISH_TO:
            continue
        said, rest = tokens[:place], tokens[place + 3 :]
        end = next((n for n, t in enumerate(rest) if t in (*_ENDS, ",")), len(rest))
        is_place = all(t in nouns or t in words.ENGLISH_ARTICLES for t in rest[:end])
        if _destination(said) is not None and end and is_place:
            return said + _without_contrast(rest[end:], nouns)
    return tokens


def _refuse_what_is_no_request(tokens: list[str]) -> None:
    """Refuse words that turn a request into something else, wherever they stand."""
    if tokens and tokens[-1] == "?" and tokens[0] in words.ENGLISH_QUESTIONS:
        raise NotUnderstood(f"that is a question; say what to do, {_EXAMPLE}")
    for token in tokens:
        if token in words.ENGLISH_NOT:
            raise NotUnderstood(
                f"{token!r}: what shall not be done is not understood; say what to do"
            )
        if token in words.ENGLISH_WHEN:
            raise NotUnderstood(
                f"{token!r}: conditions and times are not understood; say what to do now"
            )


@cache
def _known() -> frozenset[str]:
    return frozenset(
        {
            *words.ENGLISH_VERBS, *words.ENGLISH_CAUSING, *words.ENGLISH_AUXILIARY,
            *words.ENGLISH_TO, *words.ENGLISH_AT, *words.ENGLISH_ARTICLES, *words.ENGLISH_NUMBERS,
            *words.ENGLISH_ALL, *words.ENGLISH_SOME, *words.ENGLISH_PRONOUNS,
            *words.ENGLISH_EXCEPT, *words.ENGLISH_JOINTS, *words.ENGLISH_FILLERS,
            *words.ENGLISH_SPEAKER, *words.ENGLISH_STATE, *words.ENGLISH_ANYTHING,
            *words.ENGLISH_NOT, *words.ENGLISH_WHEN, *words.ENGLISH_QUESTIONS,
            *words.ENGLISH_BEING, *words.ENGLISH_HOLDING, *words.ENGLISH_LACKING,
        }
    )  # fmt: skip


def _clauses(tokens: list[str]) -> list[list[str]]:
    """Return the words of each sentence; a joint begins one only before what can be one."""
    found: list[list[str]] = [[]]
    for place, token in enumerate(tokens):
        ahead = _until_joint(tokens[place + 1 :])
        if token in _ENDS:
            found.append([])
        elif token in (",", *words.ENGLISH_JOINTS):
            if _begins(found[-1], ahead):
                found.append([])
            elif found[-1] and not (token == "," and _verb(ahead) == 0):
                found[-1].append(token)  # the comma in "mover-1, go" says nothing
        else:
            found[-1].append(token)
    for clause in found:
        while clause and clause[-1] == ",":
            clause.pop()
    return [clause for clause in found if clause]


def _until_joint(tokens: list[str]) -> list[str]:
    """Return the piece that follows a joint, other joints right behind it left out."""
    piece: list[str] = []
    for token in tokens:
        if token in _ENDS or token in (",", *words.ENGLISH_JOINTS):
            if piece:
                break
        else:
            piece.append(token)
    return piece


def _begins(clause: list[str], piece: list[str]) -> bool:
    """Tell whether what follows a joint is a sentence of its own."""
    verb = _verb(clause)
    if not piece or verb is None:
        return not piece
    if _verb(piece) is not None:
        return True
    # "put the red cube on the tray and the blue one on the shelf": the verb counts for both.
    clause = clause[verb + 1 :]
    here, there = _destination(clause), _destination(piece)
    if here is None or there is None or here == 0:
        return False
    return clause[here] in _STRONG or piece[there] not in _STRONG


def _verb(tokens: list[str]) -> int | None:
    """Return where the first verb is."""
    for place, token in enumerate(tokens):
        if _lemma(token) in words.ENGLISH_VERBS and not _is_causing(tokens, place):
            return place
    return None


def _is_causing(tokens: list[str], place: int) -> bool:
    """Tell whether a word only says that somebody shall do what follows: ``get arm-1 to pick``."""
    if tokens[place] not in words.ENGLISH_CAUSING:
        return False
    return any(
        token == "to" and _lemma(after) in words.ENGLISH_VERBS
        for token, after in zip(tokens[place:], tokens[place + 1 :], strict=False)
    )


def _lemma(verb: str) -> str:
    carries = verb[:-3] + "y" if verb.endswith("ies") else verb
    for lemma in (verb, verb.removesuffix("s"), verb.removesuffix("es"), carries):
        if lemma in words.ENGLISH_VERBS:
            return lemma
    return verb


def _wish(clause: list[str], before: Wish | None) -> Wish:
    said = " ".join(clause)
    place = _verb(clause)
    if place is None:
        return _without_verb(clause, said, before)
    subject = [t for t in clause[:place] if t not in words.ENGLISH_AUXILIARY]
    wants = bool(subject) and subject[0] in words.ENGLISH_CAUSING
    if wants:
        subject = subject[1:]
    verb, rest = _lemma(clause[place]), clause[place + 1 :]
    kind = words.ENGLISH_VERBS[verb]
    if kind == "be":
        return _state(subject + rest if verb == "ensure" else [*subject, *rest], said)
    by = _phrase(subject, said) if subject else (before.by if before else None)
    return _action(kind, rest, said, by)


def _action(kind: WishKind, rest: list[str], said: str, by: Phrase | None) -> Wish:
    if kind == "swap":
        rest = ["and" if t in ("with", "for") else t for t in rest]
        return Wish(kind=kind, what=_phrases(rest, said), by=by)
    split = _destination(rest)
    if split is None or (kind in ("hold", "take") and rest[split] not in _STRONG):
        if kind not in ("hold", "take"):
            raise NotUnderstood(f"{said!r} does not say where to; say it {_EXAMPLE}")
        return Wish(kind=kind, what=_phrases(rest, said), by=by)
    what, to = rest[:split], _phrase(rest[split + 1 :], said)
    into = rest[split] in ("into", "against")
    if kind == "go":
        going = _phrases(what, said) if what else (by,) if by else ()
        return Wish(kind=kind, what=going, to=to, into=into)
    if not what:
        raise NotUnderstood(f"{said!r} leaves out what is meant; say it {_EXAMPLE}")
    kind = "put" if kind in ("hold", "take") else kind
    return Wish(kind=kind, what=_phrases(what, said), to=to, by=by, into=into)


def _without_verb(clause: list[str], said: str, before: Wish | None) -> Wish:
    """Return what is wanted without a verb: ``I need this on that``, ``red cube to the tray``."""
    is_state = any(t in (*words.ENGLISH_BEING, *words.ENGLISH_HOLDING) for t in clause)
    if clause[0] in ("want", "need") or (clause[0] in words.ENGLISH_CAUSING and is_state):
        return _state(clause[1:], said)
    if lacking := _lacking(clause, said):
        return lacking
    split = _destination(clause)
    again = before is not None and before.kind in ("put", "go")
    if split and (clause[split] in ("to", "onto") or again):
        what, to = clause[:split], clause[split + 1 :]
        by = before.by if before else None
        return Wish(kind="put", what=_phrases(what, said), to=_phrase(to, said), by=by)
    known = ", ".join(sorted(words.ENGLISH_VERBS))
    raise NotUnderstood(f"{said!r} has no verb that is known here ({known}); say it {_EXAMPLE}")


def _lacking(clause: list[str], said: str) -> Wish | None:
    """Return the wish of ``the tray should have the red cube on it``; None if it is none."""
    place = next((n for n, t in enumerate(clause) if t in words.ENGLISH_LACKING), 0)
    who = [t for t in clause[:place] if t not in words.ENGLISH_AUXILIARY]
    what = clause[place + 1 :]
    if what[-2:] in (["on", "it"], ["in", "it"]):
        what = what[:-2]
    if not who or not what or _destination(what) is not None:
        return None
    return Wish(kind="give", what=_phrases(what, said), to=_phrase(who, said))


def _state(tokens: list[str], said: str) -> Wish:
    """Return the wish that something be somewhere."""
    tokens = [t for t in tokens if t not in ("be", "should", "must", "shall", "will")]
    while tokens and tokens[0] in ("that", "that-is", "there", "is", "to", "ensure"):
        tokens = tokens[1:]
    tokens = [t for t in tokens if t not in ("is", "are")]
    if held := next((n for n, t in enumerate(tokens) if t in words.ENGLISH_HOLDING), None):
        by, what = _phrase(tokens[:held], said), _phrases(tokens[held + 1 :], said)
        return Wish(kind="hold", what=what, by=by)
    split = _destination(tokens)
    if split is None:
        raise NotUnderstood(f"{said!r} does not say where; say it {_EXAMPLE}")
    if split and tokens[split - 1] in words.ENGLISH_BEING:
        tokens, split = [*tokens[: split - 1], *tokens[split:]], split - 1
    to = _phrase(tokens[split + 1 :], said)
    return Wish(kind="be", what=_phrases(tokens[:split], said), to=to)


def _destination(tokens: list[str]) -> int | None:
    """Return where the destination begins: at "to", else at "onto", "on" or "in"; not in a clause.

    ``that is on the shelf`` tells which thing is meant, not where it shall be.
    """
    free = [
        n
        for n, token in enumerate(tokens)
        if token in words.ENGLISH_TO and (n == 0 or tokens[n - 1] != "that-is")
    ]
    for group in _GROUPS:
        places = [n for n in free if tokens[n] in group]
        if places:
            # "on the tray in the store": the place of the tray, not another destination.
            return places[0] if group != ("on", "in") else _of_two(tokens, places)
    return None


def _of_two(tokens: list[str], places: list[int]) -> int:
    """Return which of several "on" and "in" leads: the last, but a place may be within another."""
    within = len(places) > 1 and tokens[places[-1]] == "in"
    return places[-2] if within else places[-1]


def _phrases(tokens: list[str], said: str) -> tuple[Phrase, ...]:
    """Return the parts of ``this, that and the other``."""
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token in (",", "and"):
            parts.append([])
        else:
            parts[-1].append(token)
    parts = [part for part in parts if part] or [[]]
    if len(parts) > 1 and parts[0][0] == "both":
        parts[0] = parts[0][1:]
    phrases = [_phrase(part, said) for part in parts]
    if len(phrases[-1].words) > 1:
        # "the red and the blue cube": what it is may be said once, at the end.
        noun = phrases[-1].words[-1:]
        phrases = [replace(p, words=p.words + noun) if _hangs(p) else p for p in phrases]
    return tuple(phrases)


def _hangs(phrase: Phrase) -> bool:
    """Tell whether a phrase is a lone adjective: only those name no thing by themselves."""
    return len(phrase.words) == 1 and "-" not in phrase.words[0] and not phrase.where


def _phrase(tokens: list[str], said: str) -> Phrase:
    if not tokens:
        raise NotUnderstood(f"{said!r} leaves out what is meant; say it {_EXAMPLE}")
    if tokens[0] in words.ENGLISH_PRONOUNS and len(tokens) == 1:
        return Phrase(words=tuple(tokens), pronoun=True)
    but: tuple[Phrase, ...] = ()
    if excepted := next((n for n, t in enumerate(tokens) if t in words.ENGLISH_EXCEPT), None):
        but = _phrases(tokens[excepted + 1 :], said)
        tokens = tokens[:excepted]
    quantity, exact, described = _quantity(tokens, said)
    split = next((n for n, t in enumerate(described) if t in words.ENGLISH_AT), None)
    head, tail = (described, []) if split is None else (described[:split], described[split + 1 :])
    plural = bool(head) and singular(head[-1]) != head[-1]  # "the red cubes", "the green ones"
    head = [t for t in head if t not in words.ENGLISH_ANYTHING]
    where = (_phrase(tail, said),) if tail else ()
    quantity = "all" if plural and quantity == "the" else quantity
    described = tuple(map(singular, head))
    return Phrase(words=described, quantity=quantity, exact=exact, where=where, but=but)


def _quantity(tokens: list[str], said: str) -> tuple[Quantity, bool, list[str]]:
    """Return how many, whether there must be no more, and what is left."""
    quantity: Quantity = "the"
    definite = False
    rest = list(tokens)
    while rest:
        first = rest[0]
        if first == "of" and quantity != "the":
            definite = False  # "two of the cubes"
            if rest[1:2] and rest[1] in words.ENGLISH_ARTICLES:
                rest.pop(0)
        elif first in words.ENGLISH_ARTICLES:
            definite = True
        elif first in words.ENGLISH_ALL:
            quantity, definite = "all", True
        elif first in words.ENGLISH_SOME:
            raise Ambiguous(f"{said!r} does not say how many; say a number, or all")
        elif first in words.ENGLISH_NUMBERS or first.isdigit():
            if first == "one" and definite:
                break  # "the one on the shelf"
            quantity = words.ENGLISH_NUMBERS[first] if first.isalpha() else int(first)
            definite |= first == "both"
        else:
            break
        rest.pop(0)
    if quantity == 0:
        raise NotUnderstood(f"{said!r} asks for none; say what to do, {_EXAMPLE}")
    return quantity, definite and isinstance(quantity, int), rest


def singular(word: str) -> str:
    """Return the singular of a regular English noun."""
    if word.endswith("ves"):
        return word[:-3] + "f"
    if word.endswith(("xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
