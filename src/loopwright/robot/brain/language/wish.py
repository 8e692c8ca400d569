"""What an instruction asks for, before anybody knows which things are meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopwright.robot.knowledge import NoPlan

WishKind = Literal["put", "take", "hold", "go", "give", "swap", "be"]
"""``put`` something somewhere, ``hold`` something, ``go`` somewhere (a robot), ``give`` something
to a robot, ``swap`` two things, ``be``: something shall lie somewhere, whoever moves it.
``take`` only says what a later wish is about."""

Quantity = int | Literal["the", "all", "some"]


class NotUnderstood(NoPlan):
    """The words are not in the language; the message says which, and what could be said."""


class NotAllowed(NoPlan):
    """It was understood, and robots do not do it."""


class Ambiguous(NoPlan):
    """It could mean several things; the message names them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """A noun phrase: ``the two red cubes on the table``."""

    words: tuple[str, ...]
    """What describes it, ``("red", "cube")``; without any it means everything movable."""
    quantity: Quantity = "the"
    exact: bool = False
    """Whether there must be no more than the number: ``both``, ``all four``, ``the two``."""
    where: tuple[Phrase, ...] = ()
    """Surfaces or stations it is said to be on, in or by."""
    but: tuple[Phrase, ...] = ()
    """What is excepted."""
    pronoun: bool = False
    """It means what was spoken of before."""

    def __str__(self) -> str:
        """Return it in words."""
        if self.pronoun:
            return " ".join(self.words)
        many = "" if self.quantity == "the" else f"{self.quantity} "
        place = "".join(f" at {p}" for p in self.where)
        return f"{many}{' '.join(self.words) or 'things'}{place}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """One thing that is asked for."""

    kind: WishKind
    what: tuple[Phrase, ...] = ()
    to: Phrase | None = None
    by: Phrase | None = None
    """The robot that shall do it; None leaves that to the planner."""
    into: bool = False
    """Whether it was said to go ``into`` the place, which only a place with an inside allows."""
