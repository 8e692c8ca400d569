"""The investigation of an occurrence: stages, causes, recommendations, and the finding at its end.

Everything is a statement in the register, signed by an investigator; how an investigation stands
is a fold over them. Somebody who signed the certificate that the robot flew under may not
investigate: what such a person says is kept, and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName, Untrusted
from loopwright.safety.admission import digests_in
from loopwright.safety.entry import Entry
from loopwright.safety.keys import Holder, SigningKey
from loopwright.safety.occurrence.clocks import (
    DAY_S,
    HARMS,
    STAGES,
    Clock,
    Due,
    Harm,
    StageName,
    dues,
)
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed, Statement

INVESTIGATION, FINDING = "investigation/v1", "finding/v1"
ANSWER_DAYS = 90
"""When a recommendation is to be answered, unless said otherwise: the 90 days customary for
safety recommendations in aviation."""
_DEEPEST = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """A cause, and what it came from."""

    text: str
    because: tuple[Cause, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a cause that says nothing."""
        if not self.text.strip():
            raise InvalidConfig("a cause without a text says nothing")

    @classmethod
    def from_json(cls, data: Any, depth: int = 0) -> Cause:
        """Read a tree of tables with ``text`` and ``because``; a text alone is a leaf.

        Raises:
            DamagedData: It is no such tree.
        """
        if isinstance(data, str):
            data = {"text": data}
        if (
            not isinstance(data, Mapping)
            or not isinstance(data.get("text"), str)
            or not set(data) <= {"text", "because"}
            or not isinstance(data.get("because", []), (list, tuple))
            or depth > _DEEPEST
        ):
            raise DamagedData(
                f"{data!r} is no cause; expected a text, or a table of 'text' and 'because'"
            )
        below = tuple(cls.from_json(item, depth + 1) for item in data.get("because", []))
        return cls(text=data["text"], because=below)

    def lines(self, indent: int = 0) -> Iterator[str]:
        """Yield the tree as text."""
        yield "  " * indent + self.text
        for cause in self.because:
            yield from cause.lines(indent + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """What somebody should do, who, and until when an answer is due."""

    id: str
    """Unique within the occurrence, ``"R1"``."""
    text: str
    owner: str
    due_s: float
    """Seconds since 1970."""

    def __post_init__(self) -> None:
        """Refuse a recommendation that is nobody's."""
        if not (self.id.strip() and self.text.strip() and self.owner.strip()):
            raise InvalidConfig(f"{self}: a recommendation needs an id, a text and an owner")

    @classmethod
    def from_json(cls, data: Any) -> Recommendation:
        """Read plain data.

        Raises:
            DamagedData: It is no recommendation.
        """
        try:
            return cls(**{**data, "due_s": float(data["due_s"])})
        except (TypeError, KeyError, ValueError, AttributeError, InvalidConfig) as error:
            raise DamagedData(f"{data!r} is no recommendation: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What an investigator says at one stage."""

    stage: StageName
    text: str
    harm: Harm | None = None
    """What came of it, if that is known now."""
    causes: tuple[Cause, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    """Id of a recommendation to what its owner answered."""

    def __post_init__(self) -> None:
        """Refuse stages that there are not, and reports without words."""
        if self.stage not in STAGES or self.stage == "final":
            known = [stage for stage in STAGES if stage != "final"]
            raise UnknownName("stage of an investigation", str(self.stage), known)
        if self.harm is not None and self.harm not in HARMS:
            raise UnknownName("harm", str(self.harm), HARMS)
        if not self.text.strip():
            raise InvalidConfig("a report of an investigation needs a text")

    def statement(self, register: str, occurrence: str) -> Statement:
        """Return it as a statement about an occurrence; an investigator signs it."""
        return Statement(
            kind=INVESTIGATION,
            subjects={"occurrence": occurrence},
            predicate={
                "register": register,
                "occurrence": occurrence,
                "stage": self.stage,
                "text": self.text,
                "harm": self.harm,
                "causes": [asdict(cause) for cause in self.causes],
                "recommendations": [asdict(item) for item in self.recommendations],
                "answers": dict(self.answers),
            },
        )

    @classmethod
    def from_statement(cls, statement: Statement) -> Report:
        """Read what :meth:`statement` made.

        Raises:
            DamagedData: It is no report of an investigation.
        """
        said: Mapping[str, Any] = statement.predicate
        try:
            return cls(
                stage=said["stage"],
                text=said["text"],
                harm=said["harm"],
                causes=tuple(Cause.from_json(cause) for cause in said["causes"]),
                recommendations=tuple(
                    Recommendation.from_json(item) for item in said["recommendations"]
                ),
                answers={str(name): str(text) for name, text in said["answers"].items()},
            )
        except (KeyError, TypeError, AttributeError, InvalidConfig, UnknownName) as error:
            raise DamagedData(f"this is no report of an investigation: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What comes of an occurrence: a directive, a scenario, a rule; or a reasoned nothing."""

    directives: tuple[str, ...] = ()
    """Digests of registered directives."""
    scenarios: tuple[str, ...] = ()
    """Digests of registered regression scenarios."""
    rules: tuple[str, ...] = ()
    """Digests of registered rules."""
    none_because: str = ""

    def __post_init__(self) -> None:
        """Refuse an occurrence without an outcome, and nothing together with something."""
        something = bool(self.directives or self.scenarios or self.rules)
        if something == bool(self.none_because.strip()):
            raise InvalidConfig(
                "an occurrence ends in one or more of a directive, a scenario and a rule, or in "
                "none of them with the reason why"
            )

    def statement(self, register: str, occurrence: str, text: str) -> Statement:
        """Return the finding that closes an occurrence; an investigator signs it."""
        return Statement(
            kind=FINDING,
            subjects={"occurrence": occurrence},
            predicate={
                "register": register,
                "occurrence": occurrence,
                "text": text,
                "directive": list(self.directives),
                "regression": list(self.scenarios),
                "rule": list(self.rules),
                "none_because": self.none_because,
            },
        )

    @classmethod
    def from_statement(cls, statement: Statement) -> Outcome:
        """Read what :meth:`statement` made.

        Raises:
            DamagedData: It is no finding.
        """
        said = statement.predicate
        try:
            if not isinstance(said["text"], str) or not said["text"].strip():
                raise InvalidConfig("it has no text")
            return cls(
                directives=digests_in(said, "directive"),
                scenarios=digests_in(said, "regression"),
                rules=digests_in(said, "rule"),
                none_because=str(said["none_because"]),
            )
        except (KeyError, InvalidConfig) as error:
            raise DamagedData(f"this is no finding: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inquiry:
    """How the investigation of an occurrence stands."""

    entry: Entry
    """The occurrence."""
    reports: tuple[tuple[Entry, Report], ...]
    finding: tuple[Entry, Outcome] | None
    void: tuple[Entry, ...]
    """Said by somebody who may not investigate this."""

    @property
    def harm(self) -> Harm:
        """What is known to have come of it."""
        for _, report in reversed(self.reports):
            if report.harm is not None:
                return report.harm
        return "none"

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes, as they were said last."""
        return next((r.causes for _, r in reversed(self.reports) if r.causes), ())

    @property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """All of them, in order."""
        return tuple(item for _, report in self.reports for item in report.recommendations)

    @property
    def answers(self) -> dict[str, str]:
        """Id of a recommendation to the answer to it."""
        return {name: text for _, report in self.reports for name, text in report.answers.items()}

    @property
    def state(self) -> str:
        """In a word."""
        if self.finding is not None:
            return "closed"
        return "under investigation" if self.reports else "open"

    def dues(self, clocks: Sequence[Clock], now_s: float) -> tuple[Due, ...]:
        """Return what was due until now and what is due next, recommendations included."""
        stages: list[tuple[StageName, float]] = [
            (report.stage, entry.time_s) for entry, report in self.reports
        ]
        if self.finding is not None:
            stages.append(("final", self.finding[0].time_s))
        return (
            *dues(clocks, self.entry.time_s, stages, self.harm, now_s),
            *(self._due_answer(item) for item in self.recommendations),
        )

    def _due_answer(self, item: Recommendation) -> Due:
        times_s = [entry.time_s for entry, report in self.reports if item.id in report.answers]
        return Due(
            name=f"answer to {item.id}, {item.owner}",
            due_s=item.due_s,
            done_s=min(times_s, default=None),
            source="the recommendation",
        )


def inquiry_of(register: Register, occurrence: Entry) -> Inquiry:
    """Return how the investigation of an occurrence stands, by the register."""
    reports, void, finding = [], [], None
    barred = _barred(register, occurrence)
    for entry in register.filed(occurrence.digest):
        if entry.kind not in (INVESTIGATION, FINDING):
            continue
        if _same_people(entry.signed.signers(register.ring), barred):
            void.append(entry)
        elif entry.kind == INVESTIGATION:
            reports.append((entry, Report.from_statement(entry.statement)))
        elif finding is None:
            finding = entry, Outcome.from_statement(entry.statement)
    return Inquiry(entry=occurrence, reports=tuple(reports), finding=finding, void=tuple(void))


def investigate(register: Register, occurrence: Entry, report: Report, key: SigningKey) -> int:
    """Register a report of an investigation, and return its number.

    Raises:
        Untrusted: The key is none of an investigator, or of somebody who signed the certificate.
        InvalidConfig: The occurrence is closed, or a recommendation is known already or unknown.
    """
    refuse_barred(register, occurrence, key)
    standing = inquiry_of(register, occurrence)
    if standing.finding is not None:
        raise InvalidConfig(f"occurrence {occurrence.number} is closed; open what is new anew")
    known = {item.id for item in standing.recommendations}
    new = [item.id for item in report.recommendations]
    if (twice := known & set(new)) or len(set(new)) != len(new):
        raise InvalidConfig(f"recommendation {sorted(twice) or new} is there already")
    if unknown := set(report.answers) - known - set(new):
        raise UnknownName("recommendation", min(unknown), known | set(new))
    return register.append(Signed.by(report.statement(register.id, occurrence.digest), key))


def close(
    register: Register, occurrence: Entry, outcome: Outcome, text: str, key: SigningKey
) -> int:
    """Register the finding that closes an occurrence, and return its number.

    Raises:
        Untrusted: The key is none of an investigator, or of somebody who signed the certificate;
            or the outcome names what is not registered.
        InvalidConfig: It is closed already, or says nothing.
    """
    refuse_barred(register, occurrence, key)
    if inquiry_of(register, occurrence).finding is not None:
        raise InvalidConfig(f"occurrence {occurrence.number} is closed already")
    for digest in (*outcome.scenarios, *outcome.rules):
        entry = register.find(digest)
        about = entry.statement.predicate.get("occurrence") if entry else None
        if about != occurrence.digest:
            raise Untrusted(
                f"{digest[:16]} does not come from occurrence {occurrence.number}; its outcome "
                "has to cite it"
            )
    return register.append(Signed.by(outcome.statement(register.id, occurrence.digest, text), key))


def refuse_barred(register: Register, occurrence: Entry, key: SigningKey) -> None:
    """Refuse somebody who may not investigate an occurrence.

    Raises:
        Untrusted: It is somebody who signed the certificate concerned, or the certificate is not
            in this register, so that nobody can tell.
    """
    holder = register.ring.holder(key.id)
    if _same_people((holder,), _barred(register, occurrence)):
        raise Untrusted(
            f"{holder.person} signed the certificate that the robot flew under and may not "
            "investigate this; somebody else has to"
        )
    certificate = _certificate_of(occurrence)
    if certificate and register.find(certificate) is None:
        raise Untrusted(
            f"certificate {certificate[:16]}, which the robot flew under, is not in this register, "
            "so nobody can tell who may not investigate; register it first"
        )


def recommendation_due_s(opened_s: float, days: float = ANSWER_DAYS) -> float:
    """Return when a recommendation is to be answered, seconds since 1970."""
    return opened_s + days * DAY_S


def check_form(statement: Statement) -> None:
    """Refuse a report or a finding that could not be read later."""
    reader = Report if statement.kind == INVESTIGATION else Outcome
    reader.from_statement(statement)


def _certificate_of(occurrence: Entry) -> str:
    value = occurrence.statement.predicate.get("certificate")
    return value if isinstance(value, str) and value != "none" else ""


def _barred(register: Register, occurrence: Entry) -> tuple[Holder, ...]:
    """Return who signed the certificate that was flown under."""
    certificate = _certificate_of(occurrence)
    entry = register.find(certificate) if certificate else None
    return entry.signed.signers(register.ring) if entry is not None else ()


def _same_people(people: Sequence[Holder], others: Sequence[Holder]) -> bool:
    return any(not one.is_other_than(other) for one in people for other in others)
