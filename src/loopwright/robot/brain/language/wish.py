"""What an instruction asks for, before anybody knows which things are meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopwright.robot.knowledge import NoPlan

WishKind = Literal["put", "hold", "go"]
"""``put`` something somewhere, ``hold`` something, ``go`` somewhere (a robot)."""

Quantity = int | Literal["the", "all"]


class NotUnderstood(NoPlan):
    """The words are not in the language; the message says which, and what could be said."""


class NotAllowed(NoPlan):
    """It was understood, and robots do not do it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """A noun phrase: ``the two red cubes on the table``."""

    words: tuple[str, ...]
    """What describes it, ``("red", "cube")``; without any it means everything movable."""
    quantity: Quantity = "the"
    where: tuple[Phrase, ...] = ()
    """Surfaces or stations it is said to be on, in or by."""

    def __str__(self) -> str:
        """Return it in words."""
        many = "" if self.quantity == "the" else f"{self.quantity} "
        place = "".join(f" at {p}" for p in self.where)
        return f"{many}{' '.join(self.words) or 'things'}{place}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """One thing that is asked for."""

    kind: WishKind
    what: Phrase
    to: Phrase | None = None
