"""Which statements a register takes, and from whom.

One table: for every kind of statement the roles that must have signed it (each another person),
and which of its fields name earlier statements. It is asked when a statement is appended and again
whenever the register is read, so a line that was smuggled into the file is refused like one that
was handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig, UnknownName, Untrusted
from loopwright.safety.keys import Holder, KeyRing, Role
from loopwright.safety.statement import Signed, Statement


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What a statement of one kind must fulfil."""

    code: int
    """Kind of its frames in the file; never given to another kind of statement."""
    signers: tuple[tuple[Role, ...], ...]
    """Alternatives; in each, all roles are asked for, of different people."""
    names: tuple[str, ...] = ()
    """Fields of the predicate that hold the digest (or digests) of statements registered before,
    of the kinds in :data:`NAMED_KINDS`."""
    independent: bool = False
    """Its signers must be other people than those of the statements under ``evidence``."""
    numbered: bool = False
    """Field ``number`` grows strictly from one statement of the kind to the next."""
    urgent: bool = False
    """Raises the epoch: every deployment looks at the register again, at once."""
    bound: bool = False
    """Field ``register`` names the register it was written for, so it holds in no other."""
    form: str = ""
    """Entry point that is called with the statement and refuses one that cannot be read; an
    illegible directive would otherwise stay in the register for ever."""


_ORDERS = "loopwright.safety.directive.orders:check_form"
_INQUIRY = "loopwright.safety.occurrence.inquiry:check_form"

ADMISSIONS: dict[str, Admission] = {
    "test-plan/v1": Admission(code=16, signers=(("proposer",),)),
    "look/v1": Admission(code=17, signers=(("proposer",), ("recorder",)), names=("plan",)),
    "evidence/v1": Admission(
        code=18, signers=(("proposer",), ("operator",), ("recorder",), ("investigator",))
    ),
    "certificate/v1": Admission(code=19, signers=(("proposer", "approver"),), names=("plan",)),
    "suspension/v1": Admission(
        code=20,
        signers=(("approver",), ("authority",)),
        names=("certificate",),
        urgent=True,
        form=_ORDERS,
    ),
    "deployment/v1": Admission(
        code=21,
        signers=(("operator",),),
        urgent=True,
        bound=True,
        form="loopwright.safety.directive.deployment:check_form",
    ),
    "directive/v1": Admission(
        code=22,
        signers=(("authority",),),
        names=("supersedes", "evidence"),
        independent=True,
        numbered=True,
        urgent=True,
        bound=True,
        form=_ORDERS,
    ),
    "closure/v1": Admission(
        code=23,
        signers=(("operator",),),
        names=("directive", "evidence"),
        urgent=True,
        bound=True,
        form=_ORDERS,
    ),
    "alternative/v1": Admission(
        code=24,
        signers=(("authority",),),
        names=("directive",),
        urgent=True,
        bound=True,
        form=_ORDERS,
    ),
    "release/v1": Admission(
        code=25,
        signers=(("authority",),),
        names=("directive", "evidence"),
        independent=True,
        urgent=True,
        bound=True,
        form=_ORDERS,
    ),
    "occurrence/v1": Admission(
        code=26,
        signers=(("recorder",), ("operator",), ("investigator",)),
        names=("evidence",),
        form="loopwright.safety.occurrence.record:check_form",
    ),
    "finding/v1": Admission(
        code=27,
        signers=(("investigator",),),
        names=("occurrence", "directive", "regression", "rule"),
        bound=True,
        form=_INQUIRY,
    ),
    "rule/v1": Admission(
        code=28,
        signers=(("investigator",), ("authority",)),
        names=("occurrence",),
        form="loopwright.safety.occurrence.rules:check_form",
    ),
    "investigation/v1": Admission(
        code=29, signers=(("investigator",),), names=("occurrence",), bound=True, form=_INQUIRY
    ),
    "regression/v1": Admission(
        code=30,
        signers=(("recorder",), ("operator",), ("investigator",)),
        names=("occurrence",),
        bound=True,
    ),
    "recheck/v1": Admission(
        code=31,
        signers=(("authority",), ("approver",), ("investigator",)),
        names=("certificate", "regression"),
        bound=True,
    ),
    "objection/v1": Admission(code=32, signers=(("approver",),), names=("plan",)),
}
"""Kind to what it must fulfil. A kind that is not listed is refused."""

KIND_OF_CODE = {admission.code: kind for kind, admission in ADMISSIONS.items()}

NAMED_KINDS: dict[str, tuple[str, ...]] = {
    "plan": ("test-plan/v1",),
    "certificate": ("certificate/v1",),
    "directive": ("directive/v1",),
    "supersedes": ("directive/v1",),
    "occurrence": ("occurrence/v1",),
    "regression": ("regression/v1",),
    "rule": ("rule/v1",),
    "evidence": ("evidence/v1", "closure/v1", "certificate/v1", "finding/v1"),
}
"""Field to the kinds of statement that it may name."""

_FILED_UNDER = ("deployment", "directive", "plan", "certificate", "occurrence")


def filed_under(statement: Statement) -> str:
    """Return the one name a statement is looked up by, beside its digest; empty for none.

    The deployment it speaks of; else the directive, plan, certificate or occurrence.
    """
    for field in _FILED_UNDER:
        value = statement.predicate.get(field)
        if isinstance(value, str):
            return value
    return ""


def admission_of(kind: str) -> Admission:
    """Return what a kind of statement must fulfil.

    Raises:
        UnknownName: No rule says who may sign that.
    """
    if kind not in ADMISSIONS:
        raise UnknownName("kind of statement", kind, ADMISSIONS)
    return ADMISSIONS[kind]


def check_signers(signed: Signed, ring: KeyRing) -> tuple[Holder, ...]:
    """Return the people who signed in the roles that the kind asks for.

    Raises:
        Untrusted: A signature does not hold, or none of the accepted sets of roles is complete.
    """
    alternatives = admission_of(signed.statement.kind).signers
    claimed = [ring.holder(name).roles for name, _ in signed.signatures]
    for roles in alternatives:
        if all(any(role in held for held in claimed) for role in roles):
            return signed.require(ring, *roles)
    people = [f"{h.person} ({'/'.join(sorted(h.roles))})" for h in signed.signers(ring)]
    wanted = " or ".join(" and ".join(roles) for roles in alternatives)
    raise Untrusted(
        f"a {signed.statement.kind} is signed by {wanted}; this one by {', '.join(people)}"
    )


def digests_in(predicate: Mapping[str, Json], field: str) -> tuple[str, ...]:
    """Return the digests a field holds: none, one, or a list of them.

    Raises:
        InvalidConfig: It holds something else.
    """
    value = predicate.get(field)
    found = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(item, str) for item in found):
        raise InvalidConfig(f"field {field!r} is {value!r}; expected the digest of a statement")
    return tuple(str(item) for item in found)
