"""Which things a noun phrase names, by their words and by where they are now."""

from __future__ import annotations

from collections.abc import Iterable

from loopwright.robot.brain.language import english
from loopwright.robot.brain.language.wish import Ambiguous, NotUnderstood, Phrase
from loopwright.robot.knowledge import NoPlan
from loopwright.robot.logic import Fact, Facts
from loopwright.robot.memory.things import Thing, ThingKind, Things


class Naming:
    """Finds things by what is said of them."""

    def __init__(self, things: Things, facts: Facts) -> None:
        """Look among some things.

        Args:
            things: What there is.
            facts: Where they are now.
        """
        self.things, self.facts = things, facts
        self.known = {word for thing in things for word in called(thing)}

    def fitting(self, phrase: Phrase, *kinds: ThingKind) -> list[Thing]:
        """Return everything of some kinds that a phrase describes."""
        wanted = set(phrase.words)
        found = [t for t in self.things.of_kind(*kinds) if wanted <= called(t)]
        for place in phrase.where:
            found = [t for t in found if self._is_at(t, place)]
        for exception in phrase.but:
            spared = self.meant(exception, *kinds)
            found = [t for t in found if t not in spared]
        return found

    def meant(self, phrase: Phrase, *kinds: ThingKind) -> list[Thing]:
        """Return what a phrase means; of things that are alike, as many as are asked for.

        Raises:
            Ambiguous: It could be several.
            NotUnderstood: A word of it is unknown.
            NoPlan: There is none, or there are not so many.
        """
        found = self.fitting(phrase, *kinds)
        if not isinstance(phrase.quantity, int):
            if phrase.quantity == "all" and found:
                return found
            return [self.only(phrase, found, kinds[0])]
        if not found:
            self.only(phrase, found, kinds[0])
        if len(found) < phrase.quantity:
            raise NoPlan(
                f"there {_are(len(found))} of {' '.join(phrase.words) or kinds[0]!r} "
                f"({names(found)}), not {phrase.quantity}"
            )
        if phrase.exact and len(found) > phrase.quantity:
            raise Ambiguous(f"{str(phrase)!r} could be any of {names(found)}; say which")
        return found

    def only(self, phrase: Phrase, found: list[Thing], kind: str) -> Thing:
        """Return the one thing that fits.

        Raises:
            Ambiguous: Several do.
            NotUnderstood: None does, for a word of the phrase is unknown.
            NoPlan: None does.
        """
        if len(found) == 1:
            return found[0]
        if found:
            raise Ambiguous(f"{str(phrase)!r} could be {names(found, 'or')}; say which")
        unknown = [w for w in phrase.words if w not in self.known]
        if unknown:
            raise NotUnderstood(
                f"I know no {', '.join(map(repr, unknown))}; "
                f"what I know: {', '.join(sorted(self.known))}"
            )
        alike = [t for t in self.things if set(phrase.words) <= called(t)]
        but = f"; {names(alike)} {'is' if len(alike) == 1 else 'are'} not" if alike else ""
        raise NoPlan(f"there is no {kind} that is {str(phrase)!r}, as far as has been seen{but}")

    def surface(self, phrase: Phrase) -> Thing:
        """Return the surface that is meant; a station with one surface stands for it."""
        found = [t for t in self.fitting(phrase, "surface", "robot") if t.carries]
        if not found:
            stations = self.fitting(phrase, "station")
            found = [c for c in self.things.of_kind("surface") if self._stands_at(c, stations)]
        return self.only(phrase, found, "surface")

    def station(self, phrase: Phrase) -> Thing:
        """Return the station that is meant; what stands at one, stands for it."""
        found = self.fitting(phrase, "station")
        if not found:
            there = self.fitting(phrase, "surface", "robot")
            found = [s for s in self.stations if any(self._stands_at(t, [s]) for t in there)]
        return self.only(phrase, found, "station")

    @property
    def stations(self) -> tuple[Thing, ...]:
        """All stations."""
        return self.things.of_kind("station")

    def carrier_of(self, thing: Thing) -> Thing | None:
        """Return what an object lies on, as far as is known."""
        lies = (c for c in self.things.carriers if self.facts(Fact("on", (thing.name, c.name))))
        return next(lies, None)

    def station_of(self, thing: Thing) -> Thing | None:
        """Return where a surface, a robot, or an object on one of them is, as far as is known."""
        place = self.carrier_of(thing) if thing.kind == "object" else thing
        if place is None:
            return None
        return next((s for s in self.stations if self._stands_at(place, [s])), None)

    def _stands_at(self, thing: Thing, stations: Iterable[Thing]) -> bool:
        return any(self.facts(Fact("at", (thing.name, s.name))) for s in stations)

    def _is_at(self, thing: Thing, place: Phrase) -> bool:
        if not place.words:
            raise NotUnderstood(f"{str(place)!r} is no place; say which place")
        carriers = [t for t in self.fitting(place, "surface", "robot") if t.carries]
        stations = self.fitting(place, "station")
        if not carriers and not stations:
            self.only(place, [], "place")
        if thing.kind != "object":
            return self._stands_at(thing, stations)
        under = self.carrier_of(thing)
        return under is not None and (under in carriers or self._stands_at(under, stations))


def called(thing: Thing) -> set[str]:
    """Return every word that fits a thing, single words of longer names included."""
    said = {thing.name, *thing.name.split("-"), *thing.properties.values()}
    for name in (w for ws in thing.words.values() for w in ws):
        said |= {name, *name.split()}
    return said | {english.singular(w) for w in said}


def names(things: Iterable[Thing], joint: str = "and") -> str:
    """Return names as a list in words."""
    named = [t.name for t in things]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} {joint} {named[-1]}"


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
