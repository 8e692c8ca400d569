"""Who proposed, tested, approved, deployed, grounded and released a deployment.

Answered from the register alone. People are named from signatures, which hold whoever kept the
file; the times are those at which statements were registered, by the clock of whoever did that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from loopwright.core.digest import Json
from loopwright.core.errors import Unidentified
from loopwright.safety.admission import check_signers, digests_in
from loopwright.safety.directive.deployment import KIND as DEPLOYMENT
from loopwright.safety.directive.deployment import Deployment
from loopwright.safety.directive.orders import (
    ALTERNATIVE,
    CLOSURE,
    DIRECTIVE,
    RELEASE,
    SUSPENSION,
    Directive,
)
from loopwright.safety.directive.standing import Binding, orders_in_force
from loopwright.safety.entry import Entry
from loopwright.safety.keys import Holder, KeyRing
from loopwright.safety.register import Register

Verb = Literal[
    "planned",
    "tested",
    "proposed",
    "approved",
    "deployed",
    "grounded",
    "restricted",
    "called in",
    "complied",
    "allowed otherwise",
    "released",
    "suspended",
    "reported",
]
_VERB_OF_ACTION: dict[str, Verb] = {
    "ground": "grounded",
    "restrict": "restricted",
    "inspect": "called in",
}
_OCCURRENCE = "occurrence/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """Something that somebody did, and signed."""

    verb: Verb
    people: tuple[str, ...]
    entry: int
    """Number in the register."""
    time_s: float
    """When it was registered, seconds since 1970."""
    digest: str
    """Of the statement."""
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Responsibility:
    """A deployment at a moment, and everything that had led there."""

    deployment: Deployment
    at_s: float
    deeds: tuple[Deed, ...]
    """In the order of the register."""
    bindings: tuple[Binding, ...]
    """The directives in force on it then."""

    def by(self, verb: Verb) -> tuple[Deed, ...]:
        """Return the deeds of one sort."""
        return tuple(deed for deed in self.deeds if deed.verb == verb)

    def to_json(self) -> dict[str, Json]:
        """Return plain data for machines."""
        return {
            **self.deployment.to_json(),
            "at_s": self.at_s,
            "deeds": [_plain(asdict(deed)) for deed in self.deeds],
            "in_force": [
                {
                    "directive": binding.order.directive.number,
                    "entry": binding.order.entry,
                    "digest": binding.order.digest,
                    "effect": binding.effect,
                    "why": binding.why,
                }
                for binding in self.bindings
            ],
        }


def who(register: Register, deployment: str, at_s: float) -> Responsibility:
    """Return who is responsible for what a deployment was at a moment.

    Args:
        register: Of the site.
        deployment: Id.
        at_s: Seconds since 1970; what was registered later is left out.

    Raises:
        Unidentified: No operator had deployed it by then.
    """
    entry = _deployed(register, deployment, at_s)
    subject = Deployment.from_json(entry.statement.predicate)
    orders = sorted(_orders(register, at_s), key=lambda order: order.number)
    deeds = [
        *_approval(register, subject.certificate, at_s),
        _deed(register.ring, "deployed", entry, f"{subject.robot}, {subject.scenario}"),
        *_answers(register.ring, subject, orders),
        *(
            _deed(register.ring, "reported", found, str(found.statement.predicate.get("what", "")))
            for found in register.filed(deployment, _OCCURRENCE)
            if found.time_s <= at_s
        ),
    ]
    return Responsibility(
        deployment=subject,
        at_s=at_s,
        deeds=tuple(sorted(deeds, key=lambda deed: deed.entry)),
        bindings=orders_in_force(orders).bindings(subject, at_s),
    )


def _deployed(register: Register, deployment: str, at_s: float) -> Entry:
    """Return the statement that made the deployment what it was at a moment."""
    last = None
    for entry in register.filed(deployment, DEPLOYMENT):
        said: Any = entry.statement.predicate
        if entry.time_s <= at_s and said["from_s"] <= at_s:
            last = entry
    if last is None:
        raise Unidentified(
            f"the register holds no deployment {deployment!r} at that time; look for its id with "
            "'loopwright register show', or ask for a later time"
        )
    return last


def _approval(register: Register, certificate: str, at_s: float) -> Iterator[Deed]:
    """Yield who planned, tested, proposed and approved what a certificate says."""
    entry = register.find(certificate) if certificate else None
    if entry is None or entry.time_s > at_s:
        return
    for plan in digests_in(entry.statement.predicate, "plan"):
        if (planned := register.find(plan)) is not None:
            yield _deed(register.ring, "planned", planned)
        looks = register.filed_numbers(plan, "look/v1")
        if looks:
            # One key logs a whole campaign, so the last look speaks for all.
            last = register.entry(looks[-1])
            detail = f"{len(looks)} looks, entries {looks[0]} to {looks[-1]}"
            yield _deed(register.ring, "tested", last, detail)
    level = str(entry.statement.predicate.get("level", ""))
    proposer, approver = check_signers(entry.signed, register.ring)
    parts: tuple[tuple[Verb, Holder], ...] = (("proposed", proposer), ("approved", approver))
    for verb, holder in parts:
        yield Deed(
            verb=verb,
            people=(holder.person,),
            entry=entry.number,
            time_s=entry.time_s,
            digest=entry.digest,
            detail=f"certificate, level {level}",
        )


def _orders(register: Register, at_s: float) -> Iterator[Entry]:
    for kind in (DIRECTIVE, RELEASE, CLOSURE, ALTERNATIVE, SUSPENSION):
        for entry in register.statements(kind):
            if entry.time_s <= at_s:
                yield entry


def _answers(ring: KeyRing, subject: Deployment, orders: Iterable[Entry]) -> Iterator[Deed]:
    """Yield the orders that concern a deployment, and what answered them."""
    affecting: dict[str, int] = {}
    for entry in orders:
        said: Any = entry.statement.predicate
        if entry.kind == DIRECTIVE:
            directive = Directive.from_statement(entry.statement)
            if directive.match.affects(subject):
                affecting[entry.digest] = directive.number
                detail = f"directive {directive.number}: {directive.reason}"
                yield _deed(ring, _VERB_OF_ACTION[directive.action], entry, detail)
            for digest in set(directive.supersedes) & set(affecting):
                detail = f"directive {affecting[digest]}, superseded"
                yield _deed(ring, "released", entry, detail)
        elif entry.kind == SUSPENSION:
            if subject.certificate in digests_in(said, "certificate"):
                yield _deed(ring, "suspended", entry, str(said.get("reason", "")))
        elif said["directive"] in affecting and _concerns(entry, subject.id):
            detail = f"directive {affecting[said['directive']]}"
            yield _deed(ring, _VERB_OF_ANSWER[entry.kind], entry, detail)


_VERB_OF_ANSWER: dict[str, Verb] = {
    RELEASE: "released",
    CLOSURE: "complied",
    ALTERNATIVE: "allowed otherwise",
}


def _concerns(entry: Entry, deployment: str) -> bool:
    said: Any = entry.statement.predicate
    if entry.kind == CLOSURE:
        return said["deployment"] == deployment
    return not said["deployments"] or deployment in said["deployments"]


def _deed(ring: KeyRing, verb: Verb, entry: Entry, detail: str = "") -> Deed:
    return Deed(
        verb=verb,
        # The signatures were checked when the register was opened, and are of these very bytes.
        people=tuple(ring.holder(name).person for name, _ in entry.signed.signatures),
        entry=entry.number,
        time_s=entry.time_s,
        digest=entry.digest,
        detail=detail,
    )


def _plain(data: dict[str, Any]) -> dict[str, Json]:
    return {**data, "people": list(data["people"])}
