"""From wishes to goals: what must hold in the end, and who shall see to it."""

from __future__ import annotations

import re

from loopwright.robot.brain.language import chinese, english
from loopwright.robot.brain.language.naming import Naming, called, names
from loopwright.robot.brain.language.wish import (
    Ambiguous,
    NotAllowed,
    NotUnderstood,
    Phrase,
    Wish,
)
from loopwright.robot.brain.language.words import FORBIDDEN
from loopwright.robot.knowledge import NoPlan
from loopwright.robot.logic import Condition, Fact, Facts
from loopwright.robot.memory.things import Thing, Things

__all__ = ["Ambiguous", "doers", "goal_of"]


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
    meaning = _Meaning(things, facts)
    for wish in _wishes(text, things):
        meaning.take(wish)
    return meaning.goal()


def doers(text: str, things: Things, facts: Facts) -> frozenset[str]:
    """Return the robots that shall move things by what a text says; anybody, if it names none.

    A text that is not understood names nobody.
    """
    naming = Naming(things, facts)
    try:
        asked = [w.by for w in _wishes(text, things) if w.kind == "put" and w.by is not None]
    except NoPlan:
        return frozenset()
    return frozenset(robot.name for by in asked for robot in naming.fitting(by, "robot"))


def _wishes(text: str, things: Things) -> tuple[Wish, ...]:
    said = {word for thing in things for word in called(thing)}
    if re.search(r"[\u4e00-\u9fff]", text):
        return chinese.wishes(text, said)
    return english.wishes(text, said)


def _refuse_the_forbidden(text: str) -> None:
    said = text.lower()
    for word, reason in FORBIDDEN.items():
        in_english = rf"\b{word}(s|es|ed|ing)?\b"
        found = word in said if ord(word[0]) > 127 else re.search(in_english, said)
        if found and not (word == "人" and said.count("人") == said.count("机器人")):
            raise NotAllowed(f"not done, because of {word!r}: {reason}")


class _Meaning:
    """What has been understood so far."""

    def __init__(self, things: Things, facts: Facts) -> None:
        self._things, self._facts = things, facts
        self._naming = Naming(things, facts)
        self._goal: list[Condition] = []
        self._spoken_of: list[Thing] = []
        """Objects or robots of the last wish: what ``it`` means."""
        self._carrier: Thing | None = None
        """The robot that the last wish put something on: ``it`` may be that, too."""
        self._pending: Wish | None = None
        """Something was to be taken, and not yet said where to."""

    def goal(self) -> tuple[Condition, ...]:
        """Return the whole once every wish has been taken in."""
        if self._pending is not None:
            what = " and ".join(map(str, self._pending.what))
            raise Ambiguous(f"it is not said where to with {what!r}; say where to put it")
        self._refuse_too_many()
        return tuple(self._goal)

    def take(self, wish: Wish) -> None:
        """Take in one wish; who takes something back means the later place."""
        for condition in self._conditions(wish):
            for old in self._goal:
                if condition != old and _visits(condition) and _replaces(condition, old):
                    raise NoPlan(
                        f"{old.fact.args[0]} cannot be at {old.fact.args[1]} and at "
                        f"{condition.fact.args[1]} in the end; ask for one after the other"
                    )
            self._goal = [c for c in self._goal if not _replaces(condition, c)]
            self._goal.append(condition)

    def _conditions(self, wish: Wish) -> list[Condition]:
        robots = self._robots(wish)
        if robots:
            return self._gone(wish, robots)
        if wish.to is not None and wish.into:
            self._refuse_collision(wish.to)
        before = self._spoken_of
        objects = self._objects(wish)
        self._spoken_of = objects
        self._pending = None
        if wish.kind == "take":
            self._pending = wish
            return []
        if wish.kind == "hold":
            return self._held(objects, self._subject(wish))
        if wish.kind == "swap":
            return self._swapped(objects)
        assert wish.to is not None
        if wish.kind == "give" and (taker := self._taker(wish.to)):
            return self._held(objects, taker)
        surface = self._that(wish.to, before) if wish.to.pronoun else self._naming.surface(wish.to)
        chosen = self._chosen(wish, objects, surface)
        self._spoken_of = chosen or before
        self._carrier = surface if surface.kind == "robot" else None
        if wish.by is not None and "gripper" not in self._robot(wish.by).parts:
            raise NoPlan(f"{self._robot(wish.by).name} has no hand; say who else shall move things")
        return [Condition(Fact("on", (o.name, surface.name))) for o in chosen]

    def _that(self, pronoun: Phrase, spoken_of: list[Thing]) -> Thing:
        """Return the robot that carries things and was spoken of last."""
        robots = [t for t in spoken_of if t.kind == "robot" and t.carries]
        if len(robots) != 1:
            raise Ambiguous(f"{str(pronoun)!r} could be any place; say which")
        return robots[0]

    # Robots that go somewhere ---------------------------------------------------------------------

    def _robots(self, wish: Wish) -> list[Thing]:
        """Return the robots that shall go somewhere; none if objects shall."""
        if wish.kind not in ("go", "put", "be"):
            return []
        if not wish.what:
            return [self._any_that_drives(wish)]
        if not self._is_about_robots(wish):
            return []
        return _once([r for phrase in wish.what for r in self._those(phrase)])

    def _is_about_robots(self, wish: Wish) -> bool:
        """Tell whether what is to move are robots: those go to stations, and onto nothing."""
        assert wish.to is not None
        if wish.kind == "go":
            return not any(self._is_object(phrase) for phrase in wish.what)
        if not self._naming.fitting(wish.to, "station"):
            return False
        return all(
            bool(self._spoken_robots())
            if phrase.pronoun
            else not self._is_object(phrase) and self._naming.fitting(phrase, "robot")
            for phrase in wish.what
        )

    def _is_object(self, phrase: Phrase) -> bool:
        """Tell whether a phrase names objects and no robot."""
        if phrase.pronoun or not phrase.words:
            return False
        return bool(self._naming.fitting(phrase, "object"))

    def _those(self, phrase: Phrase) -> list[Thing]:
        if not phrase.pronoun:
            return self._exactly(phrase, self._naming.meant(phrase, "robot"))
        if found := self._spoken_robots():
            return found
        if self._carrier is not None:
            return [self._carrier]
        raise self._unclear(phrase)

    def _spoken_robots(self) -> list[Thing]:
        return [t for t in self._spoken_of if t.kind == "robot"]

    def _gone(self, wish: Wish, robots: list[Thing]) -> list[Condition]:
        assert wish.to is not None
        if wish.to.pronoun:
            raise Ambiguous(f"{str(wish.to)!r} could be any place; say which")
        if wish.into:
            self._refuse_collision(wish.to)
        self._spoken_of, self._pending, self._carrier = robots, None, None
        station = self._naming.station(wish.to)
        return [Condition(Fact("at", (r.name, station.name))) for r in robots]

    def _any_that_drives(self, wish: Wish) -> Thing:
        drives = [r for r in self._things.of_kind("robot") if "base" in r.parts]
        if len(drives) == 1:
            return drives[0]
        raise Ambiguous(f"it is not said who shall go to {str(wish.to)!r}: {names(drives, 'or')}?")

    def _refuse_collision(self, to: Phrase) -> None:
        """``into`` the store is a way, ``into`` a robot is a collision."""
        if self._naming.fitting(to, "station") or to.pronoun:
            return
        if hit := self._naming.fitting(to, "robot", "object"):
            raise NotAllowed(
                f"not done: nothing is moved into {names(hit)}; "
                "robots do not collide with anything, that is not safe"
            )

    # Objects --------------------------------------------------------------------------------------

    def _objects(self, wish: Wish) -> list[Thing]:
        """Return the objects a wish is about; of those that are alike, all that would do."""
        if not wish.what:
            raise NotUnderstood("it is not said what is meant; name it")
        found: list[Thing] = []
        for phrase in wish.what:
            if phrase.pronoun:
                found += self._meant_by(phrase)
            elif wish.kind in ("hold", "take", "swap"):
                found += self._exactly(phrase, self._naming.meant(phrase, "object"))
            else:
                found += self._naming.meant(phrase, "object")
        return _once(found)

    def _meant_by(self, pronoun: Phrase) -> list[Thing]:
        found = [t for t in self._spoken_of if t.kind == "object"]
        if found and self._carrier is not None:
            raise Ambiguous(
                f"{str(pronoun)!r} could be {names([*found, self._carrier], 'or')}; say which"
            )
        if found:
            return found
        raise self._unclear(pronoun)

    def _unclear(self, pronoun: Phrase) -> Ambiguous:
        movable = names(self._things.of_kind("object", "robot"), "or")
        return Ambiguous(f"{str(pronoun)!r} could be anything: {movable}; say which")

    def _exactly(self, phrase: Phrase, found: list[Thing]) -> list[Thing]:
        """Return as many as were asked for."""
        return found[: phrase.quantity] if isinstance(phrase.quantity, int) else found

    def _chosen(self, wish: Wish, objects: list[Thing], surface: Thing) -> list[Thing]:
        """Return which of the objects are moved: of those that are alike, some have to be chosen.

        Who puts two cubes on a tray means two that are not on it. Who wants two to be on it counts
        those that are.
        """
        chosen: list[Thing] = []
        for phrase in wish.what:
            alike = self._meant_by(phrase) if phrase.pronoun else self._alike(phrase, objects)
            if not isinstance(phrase.quantity, int) or phrase.pronoun:
                chosen += alike
                continue
            alike = [o for o in alike if o not in chosen]
            there = [o for o in alike if self._is_on(o, surface)]
            if wish.kind == "be" and len(there) > phrase.quantity:
                raise Ambiguous(
                    f"there {'is' if len(there) == 1 else 'are'} {names(there)} on {surface.name} "
                    f"already, more than {phrase.quantity}; say what shall be elsewhere, and where"
                )
            rest = [o for o in alike if o not in there]
            ranked = there + rest if wish.kind == "be" else rest + there
            if len(ranked) < phrase.quantity:
                raise NoPlan(f"there are not {phrase.quantity} of {' '.join(phrase.words)!r} left")
            chosen += ranked[: phrase.quantity]
        return _once(chosen)

    def _alike(self, phrase: Phrase, objects: list[Thing]) -> list[Thing]:
        found = self._naming.meant(phrase, "object")
        return [o for o in objects if o in found]

    def _is_on(self, thing: Thing, surface: Thing) -> bool:
        return self._facts(Fact("on", (thing.name, surface.name))) is True

    def _swapped(self, objects: list[Thing]) -> list[Condition]:
        if len(objects) != 2:
            raise Ambiguous(f"two things change places, not {names(objects)}; say which two")
        places = [self._naming.carrier_of(o) for o in objects]
        found: list[Condition] = []
        for thing, place in zip(objects, reversed(places), strict=True):
            if place is None:
                raise NoPlan(f"{names(objects)} do not both lie on something, as far as is known")
            found.append(Condition(Fact("on", (thing.name, place.name))))
        if places[0] == places[1]:
            raise NoPlan(f"{names(objects)} lie on {places[0].name if places[0] else ''} both")
        return found

    def _refuse_too_many(self) -> None:
        """Refuse a goal that has more on a surface than there is room for."""
        wanted = {c.fact.args for c in self._goal if c.fact.name == "on"}
        moved = {o for o, _ in wanted} | {
            c.fact.args[1] for c in self._goal if c.fact.name == "holding"
        }
        for surface in self._things.carriers:
            coming = sorted(o for o, s in wanted if s == surface.name)
            staying = [
                o.name
                for o in self._things.of_kind("object")
                if o.name not in moved and self._is_on(o, surface)
            ]
            new = [o for o in coming if not self._is_on(self._things[o], surface)]
            if new and len(coming) + len(staying) > surface.capacity:
                room = max(0, surface.capacity - len(staying))
                raise NoPlan(
                    f"{surface.name} has room for {room} more, {len(coming)} are asked for"
                    + (f"; there is already {', '.join(staying)}" if staying else "")
                )

    # Hands ----------------------------------------------------------------------------------------

    def _robot(self, phrase: Phrase) -> Thing:
        return self._naming.only(phrase, self._naming.fitting(phrase, "robot"), "robot")

    def _subject(self, wish: Wish) -> Thing | None:
        return self._robot(wish.by) if wish.by is not None else None

    def _taker(self, phrase: Phrase) -> Thing | None:
        """Return the robot that something is handed to; None if it is to lie on it."""
        found = self._naming.fitting(phrase, "robot")
        if not found and not self._naming.fitting(phrase, "surface", "station"):
            self._naming.only(phrase, found, "robot")
        handed = [r for r in found if "gripper" in r.parts]
        return self._naming.only(phrase, handed, "robot") if handed else None

    def _held(self, objects: list[Thing], robot: Thing | None) -> list[Condition]:
        """Return who holds what in the end; whoever is not told is chosen by what is near."""
        found: list[Condition] = []
        for thing in objects:
            holder = robot or self._handy(thing, {c.fact.args[0] for c in [*self._goal, *found]})
            found.append(Condition(Fact("holding", (holder.name, thing.name))))
        return found

    def _handy(self, thing: Thing, busy: set[str]) -> Thing:
        """Return who would hold a thing: who does, else who is near and has nothing else to do."""
        hands = [r for r in self._things.of_kind("robot") if "gripper" in r.parts]
        if not hands:
            raise NoPlan("no robot here has a hand")
        place = self._naming.station_of(thing)

        def unhandy(robot: Thing) -> tuple[bool, ...]:
            return (
                self._facts(Fact("holding", (robot.name, thing.name))) is not True,
                robot.name in busy,
                self._facts(Fact("free-hand", (robot.name,))) is False,
                place is None or self._naming.station_of(robot) != place,
                "base" not in robot.parts,
            )

        return min(hands, key=unhandy)


def _visits(condition: Condition) -> bool:
    return condition.fact.name == "at"


def _once(things: list[Thing]) -> list[Thing]:
    return list({t.name: t for t in things}.values())


def _replaces(new: Condition, old: Condition) -> bool:
    moves = ("on", "holding", "at")
    if new.fact.name not in moves or old.fact.name not in moves:
        return False
    return _moved(new.fact) == _moved(old.fact)


def _moved(fact: Fact) -> str:
    return fact.args[1] if fact.name == "holding" else fact.args[0]
