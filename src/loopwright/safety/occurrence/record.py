"""The entry of an occurrence: what happened, to whom, and where the evidence lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.entry import Entry
from loopwright.safety.occurrence.event import Event
from loopwright.safety.register import Register
from loopwright.safety.statement import Statement

OCCURRENCE = "occurrence/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """What a flight showed."""

    what: str
    """In a line."""
    flight: str
    """Id of the recording: digest of its first record."""
    robot: str
    """Versioned name, as in its ``BodySpec``."""
    robot_id: str
    """Which machine."""
    candidate: str
    """Digest, or ``"none"``."""
    certificate: str
    """Digest of the certificate it flew under, or ``"none"``."""
    filter: str
    """Digest of the filter."""
    instruction: str
    """What it was told to do."""
    events: tuple[Event, ...]
    """The gravest first."""
    happened_s: float
    """When the first of them began, seconds since 1970 by the recorder's clock."""
    opened_s: float
    keep_until_s: float
    """The evidence is kept until then at least."""
    evidence: str
    """Digest of the statement under which the evidence was frozen."""
    deployment: str = ""
    """Id, if the machine is deployed under one."""

    def statement(self, register: str) -> Statement:
        """Return it as a statement for one register; a recorder may sign it."""
        predicate: dict[str, Any] = {
            "register": register,
            **{name: getattr(self, name) for name in _WORDS},
            "events": [event.to_json() for event in self.events],
        }
        if self.deployment:
            predicate["deployment"] = self.deployment
        return Statement(kind=OCCURRENCE, subjects={"evidence": self.evidence}, predicate=predicate)

    @classmethod
    def from_statement(cls, statement: Statement) -> Occurrence:
        """Read what :meth:`statement` made.

        Raises:
            DamagedData: It is no occurrence that was opened from a flight.
        """
        said: Mapping[str, Any] = statement.predicate
        try:
            return cls(
                **{name: said[name] for name in _WORDS},
                events=tuple(Event.from_json(event) for event in said["events"]),
                deployment=str(said.get("deployment", "")),
            )
        except (KeyError, TypeError) as error:
            raise DamagedData(f"this is no occurrence of a flight: {error}") from error


_WORDS = (
    "what", "flight", "robot", "robot_id", "candidate", "certificate", "filter", "instruction",
    "happened_s", "opened_s", "keep_until_s", "evidence",
)  # fmt: skip


def check_form(statement: Statement) -> None:
    """Refuse an occurrence that could not be read later.

    Raises:
        DamagedData: It says nothing, or speaks of a flight and not what it showed.
    """
    if not isinstance(what := statement.predicate.get("what"), str) or not what.strip():
        raise DamagedData("an occurrence/v1 needs the text 'what'")
    if "flight" not in statement.predicate:
        return  # reported by a person
    occurrence = Occurrence.from_statement(statement)
    numbers = (occurrence.happened_s, occurrence.opened_s, occurrence.keep_until_s)
    if not occurrence.events or not all(isinstance(n, (int, float)) for n in numbers):
        raise DamagedData("an occurrence of a flight needs events and times")


def find_occurrence(register: Register, name: str) -> Entry:
    """Return the occurrence of a number, or of a digest or its beginning.

    Raises:
        InvalidConfig: There is none, or several.
    """
    found = [
        entry
        for entry in register.statements(OCCURRENCE)
        if str(entry.number) == name or (len(name) >= 8 and entry.digest.startswith(name))
    ]
    if len(found) != 1:
        known = ", ".join(str(e.number) for e in register.statements(OCCURRENCE)) or "none"
        raise InvalidConfig(f"{len(found)} occurrences are called {name!r}; there are: {known}")
    return found[0]


def occurrences_of(register: Register, flight: str) -> Iterator[Entry]:
    """Yield the occurrences that were opened from a flight."""
    for entry in register.statements(OCCURRENCE):
        if entry.statement.predicate.get("flight") == flight:
            yield entry
