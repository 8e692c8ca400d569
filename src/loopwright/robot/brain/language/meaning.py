"""From wishes to goals: which things are meant, by their words and by where they are now."""

from __future__ import annotations

import re
from collections.abc import Iterable

from loopwright.robot.brain.language import chinese, english
from loopwright.robot.brain.language.wish import NotAllowed, NotUnderstood, Phrase, Wish
from loopwright.robot.brain.language.words import FORBIDDEN
from loopwright.robot.knowledge import NoPlan
from loopwright.robot.logic import Condition, Fact, Facts
from loopwright.robot.memory.things import Thing, ThingKind, Things


class Ambiguous(NoPlan):
    """It could mean several things; the message names them."""


def goal_of(text: str, things: Things, facts: Facts) -> tuple[Condition, ...]:
    """Return the goal that an instruction states.

    Args:
        text: English or Chinese.
        things: What there is.
        facts: What holds now; ``the cube on the table`` needs it.

    Raises:
        NotUnderstood: Words are unknown, or the sentence is.
        NotAllowed: It asks for what robots here do not do.
        Ambiguous: It could mean several things.
        NoPlan: It cannot be: there are not so many, or nothing fits.
    """
    _refuse_the_forbidden(text)
    if re.search(r"[\u4e00-\u9fff]", text):
        asked = chinese.wishes(text, _said_in(things, "zh"))
    else:
        asked = english.wishes(text)
    meaning = _Meaning(things, facts)
    goal: list[Condition] = []
    for wish in asked:
        for condition in meaning.conditions(wish):
            # Who takes something back means the later place.
            goal = [c for c in goal if not _replaces(condition, c)] + [condition]
    return tuple(goal)


def _refuse_the_forbidden(text: str) -> None:
    said = text.lower()
    for word, reason in FORBIDDEN.items():
        found = word in said if ord(word[0]) > 127 else re.search(rf"\b{word}\w*\b", said)
        if found and not (word == "人" and "机器人" in said and said.count("人") == 1):
            raise NotAllowed(f"not done, because of {word!r}: {reason}")


def _said_in(things: Things, language: str) -> set[str]:
    said = {w for t in things for w in t.words.get(language, ())}
    return said | {v for t in things for k, v in t.properties.items() if k.endswith(language)}


def _replaces(new: Condition, old: Condition) -> bool:
    moves = ("on", "holding", "at")
    if new.fact.name not in moves or old.fact.name not in moves:
        return False
    return _moved(new.fact) == _moved(old.fact)


def _moved(fact: Fact) -> str:
    return fact.args[1] if fact.name == "holding" else fact.args[0]


class _Meaning:
    def __init__(self, things: Things, facts: Facts) -> None:
        self.things, self.facts = things, facts

    def conditions(self, wish: Wish) -> list[Condition]:
        if wish.kind == "go":
            assert wish.to is not None
            robots = self._meant(wish.what, ("robot",))
            station = self._one(wish.to, ("station",))
            return [Condition(Fact("at", (r.name, station.name))) for r in robots]
        if wish.kind == "hold":
            return [self._held(o) for o in self._meant(wish.what, ("object",))]
        assert wish.to is not None
        surface = self._surface(wish.to)
        taken = {surface.name}
        objects = self._meant(wish.what, ("object",), but_not_on=surface.name)
        here = [o for o in objects if self.facts(Fact("on", (o.name, surface.name))) is not True]
        others = [
            o
            for o in self.things.of_kind("object")
            if o not in objects and self.facts(Fact("on", (o.name, surface.name)))
        ]
        if len(here) and len(objects) + len(others) > surface.capacity:
            room = max(0, surface.capacity - len(others))
            raise NoPlan(
                f"{surface.name} has room for {room} more, {len(objects)} are asked for"
                + (f"; there is already {', '.join(o.name for o in others)}" if others else "")
            )
        return [Condition(Fact("on", (o.name, s))) for o in objects for s in taken]

    def _held(self, thing: Thing) -> Condition:
        arms = [r.name for r in self.things.of_kind("robot") if "gripper" in r.parts]
        near = [r for r in arms if self._shares_station(r, thing)]
        if not arms:
            raise NoPlan("no robot here has a hand")
        return Condition(Fact("holding", ((near or arms)[0], thing.name)))

    def _shares_station(self, robot: str, thing: Thing) -> bool:
        carriers = [
            c.name for c in self.things.carriers if self.facts(Fact("on", (thing.name, c.name)))
        ]
        stations = [s.name for s in self.things.of_kind("station")]
        return any(
            self.facts(Fact("at", (c, s))) and self.facts(Fact("at", (robot, s)))
            for c in carriers
            for s in stations
        )

    def _surface(self, phrase: Phrase) -> Thing:
        """Return the surface that is meant; a station with one surface stands for it."""
        named = self._fitting(phrase, self.things.carriers)
        if not named and (stations := self._fitting(phrase, self.things.of_kind("station"))):
            named = [
                c
                for c in self.things.of_kind("surface")
                if any(self.facts(Fact("at", (c.name, s.name))) for s in stations)
            ]
        return self._only(phrase, named, "surface")

    def _one(self, phrase: Phrase, kinds: tuple[ThingKind, ...]) -> Thing:
        return self._only(phrase, self._fitting(phrase, self.things.of_kind(*kinds)), kinds[0])

    def _meant(
        self, phrase: Phrase, kinds: tuple[ThingKind, ...], *, but_not_on: str | None = None
    ) -> list[Thing]:
        found = self._fitting(phrase, self.things.of_kind(*kinds))
        if phrase.quantity == "all":
            return found or [self._only(phrase, found, kinds[0])]
        if phrase.quantity == "the":
            return [self._only(phrase, found, kinds[0])]
        if len(found) < phrase.quantity:
            raise NoPlan(
                f"there are {len(found)} of {' '.join(phrase.words) or kinds[0]!r}"
                f"{f' ({_names(found)})' if found else ''}, not {phrase.quantity}"
            )

        # Any of them will do: first those that still have to be moved.
        def is_there(thing: Thing) -> bool:
            return bool(but_not_on and self.facts(Fact("on", (thing.name, but_not_on))))

        return sorted(found, key=is_there)[: phrase.quantity]

    def _only(self, phrase: Phrase, found: list[Thing], kind: str) -> Thing:
        if len(found) == 1:
            return found[0]
        if found:
            raise Ambiguous(f"{str(phrase)!r} could be {_names(found, 'or')}; say which")
        known = sorted({w for t in self.things for w in self._called(t)})
        unknown = [w for w in phrase.words if w not in known]
        if unknown:
            raise NotUnderstood(
                f"I know no {', '.join(map(repr, unknown))}; what I know: {', '.join(known)}"
            )
        raise NoPlan(f"there is no {kind} that is {str(phrase)!r}, as far as has been seen")

    def _fitting(self, phrase: Phrase, among: Iterable[Thing]) -> list[Thing]:
        found = [t for t in among if set(phrase.words) <= self._called(t)]
        for place in phrase.where:
            found = [t for t in found if self._is_at(t, place)]
        return found

    def _is_at(self, thing: Thing, place: Phrase) -> bool:
        carriers = self._fitting(place, self.things.carriers)
        stations = self._fitting(place, self.things.of_kind("station"))
        if not carriers and not stations:
            self._only(place, [], "place")
        if thing.kind == "object":
            on = [c for c in self.things.carriers if self.facts(Fact("on", (thing.name, c.name)))]
            return any(
                c in carriers or any(self.facts(Fact("at", (c.name, s.name))) for s in stations)
                for c in on
            )
        return any(self.facts(Fact("at", (thing.name, s.name))) for s in stations)

    def _called(self, thing: Thing) -> set[str]:
        """Return every word that fits a thing, single words of longer names included."""
        said = {thing.name, *thing.name.split("-"), *thing.properties.values()}
        for called in (w for ws in thing.words.values() for w in ws):
            said |= {called, *called.split()}
        return said | {english.singular(w) for w in said}


def _names(things: Iterable[Thing], joint: str = "and") -> str:
    names = [t.name for t in things]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {joint} {names[-1]}"
