"""What is said of the world in symbols: facts, conditions, and a truth that may be unknown.

A fact is a predicate with arguments, ``on(red-cube, tray)``. In a contract its arguments may be
parameters, ``on(?object, ?place)``. A condition asks that a fact holds, or that it does not. Three
truth values (Kleene 1952): what has not been observed is unknown, and unknown is never success.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from loopwright.core.errors import InvalidConfig

Truth = bool | None
"""True, false, or None for unknown."""

_FACT = re.compile(r"\s*([a-z][a-z0-9-]*)\s*\(\s*([^()]*?)\s*\)\s*")
_ARGUMENT = re.compile(r"\??[\w.:-]+")


@dataclass(frozen=True, slots=True, order=True)
class Fact:
    """A predicate with its arguments; an argument that begins with ``?`` is a parameter."""

    name: str
    args: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Fact:
        """Read ``"name(arg, ...)"``.

        Raises:
            InvalidConfig: It is no fact.
        """
        match = _FACT.fullmatch(text)
        args = tuple(a.strip() for a in match[2].split(",") if a.strip()) if match else ()
        if not match or not all(_ARGUMENT.fullmatch(a) for a in args):
            raise InvalidConfig(f"{text!r} is no fact; expected such as 'on(red-cube, tray)'")
        return cls(match[1], args)

    def bind(self, values: Mapping[str, str]) -> Fact:
        """Return the fact with parameters replaced; ``values`` names them without the ``?``."""
        return Fact(
            self.name,
            tuple(str(values.get(a[1:], a)) if a.startswith("?") else a for a in self.args),
        )

    @property
    def free(self) -> frozenset[str]:
        """Names of its parameters, without the ``?``."""
        return frozenset(a[1:] for a in self.args if a.startswith("?"))

    def __str__(self) -> str:
        """Return what :meth:`parse` reads."""
        return f"{self.name}({', '.join(self.args)})"


Facts = Callable[[Fact], Truth]
"""Whoever can say whether a ground fact holds now: the memory, a perceiver, a simulated state."""


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """A fact that must hold, or must not."""

    fact: Fact
    holds: bool = True

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read ``"on(a, b)"`` or ``"not on(a, b)"``.

        Raises:
            InvalidConfig: It is no condition.
        """
        bare = text.strip()
        if bare.startswith("not "):
            return cls(Fact.parse(bare[4:]), holds=False)
        return cls(Fact.parse(bare))

    def bind(self, values: Mapping[str, str]) -> Condition:
        """Return the condition with parameters replaced."""
        return Condition(self.fact.bind(values), self.holds)

    def truth(self, facts: Facts) -> Truth:
        """Return whether the condition is met."""
        found = facts(self.fact)
        return None if found is None else found is self.holds

    def __str__(self) -> str:
        """Return what :meth:`parse` reads."""
        return str(self.fact) if self.holds else f"not {self.fact}"


def conditions(*texts: str) -> tuple[Condition, ...]:
    """Read several conditions."""
    return tuple(Condition.parse(text) for text in texts)


def all_met(wanted: Iterable[Condition], facts: Facts) -> Truth:
    """Return whether all conditions are met: false if one is not, else unknown if one is."""
    answers = [condition.truth(facts) for condition in wanted]
    if False in answers:
        return False
    return None if None in answers else True


def unmet(wanted: Iterable[Condition], facts: Facts) -> tuple[Condition, ...]:
    """Return the conditions that are false or unknown."""
    return tuple(condition for condition in wanted if condition.truth(facts) is not True)


@dataclass(frozen=True, slots=True)
class Symbols:
    """A state of the world in symbols, closed: a fact that is not in it is false.

    What a planner reasons over, and what effects are applied to before anything moves.
    """

    true: frozenset[Fact]

    def __call__(self, fact: Fact) -> Truth:
        """Tell whether a fact holds."""
        return fact in self.true

    def after(self, effects: Iterable[Condition]) -> Symbols:
        """Return the state once effects have come about."""
        true = set(self.true)
        for effect in effects:
            (true.add if effect.holds else true.discard)(effect.fact)
        return Symbols(frozenset(true))
