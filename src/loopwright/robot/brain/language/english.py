"""English instructions to wishes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from loopwright.robot.brain.language import words
from loopwright.robot.brain.language.wish import NotUnderstood, Phrase, Quantity, Wish

_EXAMPLE = "such as 'bring the red cube to the tray by the door'"


def wishes(text: str) -> tuple[Wish, ...]:
    """Return what a text asks for, in order.

    Raises:
        NotUnderstood: A part of it is no sentence of the language.
    """
    found: list[Wish] = []
    for clause in _clauses(text):
        found.append(_wish(clause))
    if not found:
        raise NotUnderstood(f"nothing is asked for; say what to do, {_EXAMPLE}")
    return tuple(found)


def _clauses(text: str) -> Iterator[list[str]]:
    """Yield the words of each sentence; a joint begins a new one only before a verb."""
    plain = text.lower().replace("pick up", "pick")
    tokens = re.findall(r"[a-z]+(?:-[a-z0-9]+)*|\d+|[.;,!?]", plain)
    clause: list[str] = []
    for place, token in enumerate(tokens):
        ahead = [t for t in tokens[place + 1 :] if t not in words.ENGLISH_JOINTS][:1]
        begins = not ahead or ahead[0] in words.ENGLISH_VERBS
        if token in ".;!?" or (token in (",", *words.ENGLISH_JOINTS) and begins):
            if clause:
                yield clause
            clause = []
        elif token != "," and token not in words.ENGLISH_FILLERS:
            clause.append(token)
    if clause:
        yield clause


def _wish(clause: list[str]) -> Wish:
    said = " ".join(clause)
    kind = words.ENGLISH_VERBS.get(clause[0])
    if kind is None:
        raise NotUnderstood(
            f"{said!r} does not begin with a verb that is known here "
            f"({', '.join(sorted(words.ENGLISH_VERBS))}); say it {_EXAMPLE}"
        )
    rest = clause[1:]
    if kind == "hold":
        return Wish(kind="hold", what=_phrase(rest, said))
    split = _destination(rest)
    if split is None:
        raise NotUnderstood(f"{said!r} does not say where to; say it {_EXAMPLE}")
    what, to = rest[:split], rest[split + 1 :]
    return Wish(kind=kind, what=_phrase(what, said), to=_phrase(to, said))


def _destination(tokens: list[str]) -> int | None:
    """Return where the destination begins: the last "to", else the last "onto", "on" or "in"."""
    for group in (("to",), ("onto", "into"), ("on", "in")):
        places = [n for n, token in enumerate(tokens) if token in group and n > 0]
        if places:
            # "on the tray in the store": the place of the tray, not another destination.
            return places[0] if len(places) == 1 or group != ("on", "in") else places[-1]
    return None


def _phrase(tokens: list[str], said: str) -> Phrase:
    if not tokens:
        raise NotUnderstood(f"{said!r} leaves out what is meant; say it {_EXAMPLE}")
    split = next((n for n, t in enumerate(tokens) if t in words.ENGLISH_AT and n > 0), None)
    head, tail = (tokens, []) if split is None else (tokens[:split], tokens[split + 1 :])
    if head[-1:] == ["one"] and len(head) > 1:
        head = head[:-1]
    quantity, described = _quantity(head)
    where = (_phrase(tail, said),) if tail else ()
    return Phrase(words=tuple(map(singular, described)), quantity=quantity, where=where)


def _quantity(head: list[str]) -> tuple[Quantity, list[str]]:
    quantity: Quantity = "the"
    rest = list(head)
    while rest:
        first = rest[0]
        if first in words.ENGLISH_ARTICLES:
            pass
        elif first in words.ENGLISH_ALL:
            quantity = "all"
        elif first in words.ENGLISH_NUMBERS:
            quantity = words.ENGLISH_NUMBERS[first]
        elif first.isdigit():
            quantity = int(first)
        else:
            break
        rest.pop(0)
    if quantity == "the" and rest and singular(rest[-1]) != rest[-1]:
        quantity = "all"  # "the red cubes"
    return quantity, rest


def singular(word: str) -> str:
    """Return the singular of a regular English noun."""
    if word.endswith("ves"):
        return word[:-3] + "f"
    if word.endswith(("xes", "ches", "shes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
