"""Directives and what answers them, as signed statements.

``directive/v1`` orders; ``closure/v1`` reports that one deployment did what was asked;
``alternative/v1`` approves another means of compliance; ``release/v1`` ends a directive. All name
the register they were written for, so none of them can be copied into another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from loopwright.core.digest import Json
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.admission import digests_in
from loopwright.safety.directive.match import Match
from loopwright.safety.directive.restriction import check_restriction
from loopwright.safety.statement import Statement

DIRECTIVE, CLOSURE, ALTERNATIVE, RELEASE, SUSPENSION = (
    "directive/v1",
    "closure/v1",
    "alternative/v1",
    "release/v1",
    "suspension/v1",
)

Action = Literal["ground", "restrict", "inspect"]
"""``ground``: nothing moves. ``restrict``: tighter limits. ``inspect``: goes on until the
compliance time, and is grounded from then on without a closure."""

Limits = Mapping[str, Json]
"""Overrides of the filter's limits, by name; each tighter than what it replaces."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Directive:
    """An order to every deployment it matches."""

    number: int
    """Greater than that of any directive before it in the register."""
    match: Match
    action: Action
    reason: str
    """What is unsafe, in a sentence."""
    closing_action: str = ""
    """What has to be done, and shown by evidence, before it can be released."""
    comply_by_s: float = 0.0
    """From when it binds, seconds since 1970; 0: on receipt."""
    limits: Limits = field(default_factory=dict)
    """Of ``restrict``."""
    supersedes: tuple[str, ...] = ()
    """Digests of directives that it takes the place of."""
    evidence: tuple[str, ...] = ()
    """Digests of registered evidence; needed for superseding what has a closing action."""

    def __post_init__(self) -> None:
        """Refuse an order that orders nothing."""
        if self.action not in get_args(Action):
            raise InvalidConfig(f"action {self.action!r}; expected one of {get_args(Action)}")
        if self.number < 1 or not self.reason.strip():
            raise InvalidConfig("a directive needs a number from 1 up and a reason")
        if not isinstance(self.comply_by_s, (int, float)):
            raise InvalidConfig(f"comply_by_s is {self.comply_by_s!r}; expected seconds since 1970")
        if (self.action == "restrict") != bool(self.limits):
            raise InvalidConfig("limits belong to the action 'restrict', which needs some")
        if self.action == "inspect" and not (self.closing_action and self.comply_by_s):
            raise InvalidConfig("'inspect' needs a closing action and a compliance time")
        if self.supersedes and not self.evidence:
            raise InvalidConfig(
                "a directive that supersedes others ends them, so it needs evidence of what "
                "closed them"
            )

    def statement(self, register: str) -> Statement:
        """Return it as a statement for one register; an authority signs it."""
        return Statement(
            kind=DIRECTIVE,
            subjects={"register": register},
            predicate={
                "register": register,
                "number": self.number,
                "match": self.match.to_json(),
                "action": self.action,
                "reason": self.reason,
                "closing_action": self.closing_action,
                "comply_by_s": self.comply_by_s,
                "limits": dict(self.limits),
                "supersedes": list(self.supersedes),
                "evidence": list(self.evidence),
            },
        )

    @classmethod
    def from_statement(cls, statement: Statement) -> Directive:
        """Read what :meth:`statement` made.

        Raises:
            DamagedData: It is no directive, or says something this version does not know.
        """
        said = dict(statement.predicate)
        try:
            said.pop("register")
            return cls(
                match=Match.from_json(_mapping(said.pop("match"))),
                limits=dict(_mapping(said.pop("limits"))),
                supersedes=digests_in(statement.predicate, "supersedes"),
                evidence=digests_in(statement.predicate, "evidence"),
                **{k: v for k, v in said.items() if k not in ("supersedes", "evidence")},  # type: ignore[arg-type]
            )
        except (KeyError, TypeError, ValueError, InvalidConfig) as error:
            raise DamagedData(f"this is no directive: {error}") from error


def closure(register: str, deployment: str, directive: str, evidence: Sequence[str]) -> Statement:
    """Return the statement that a deployment did what a directive asks; an operator signs it.

    Args:
        register: Id of the register it is for.
        deployment: Id of the deployment.
        directive: Digest of the directive.
        evidence: Digests of registered statements that show it.
    """
    return Statement(
        kind=CLOSURE,
        subjects={"directive": directive},
        predicate={
            "register": register,
            "deployment": deployment,
            "directive": directive,
            "evidence": _some(evidence),
        },
    )


def alternative(
    register: str,
    directive: str,
    *,
    means: str,
    limits: Limits,
    until_s: float,
    deployments: Sequence[str] = (),
) -> Statement:
    """Return the approval of another means of compliance; an authority signs it.

    Args:
        register: Id of the register it is for.
        directive: Digest of the directive.
        means: What is done instead, in a sentence.
        limits: What holds meanwhile instead of what was ordered; may be empty.
        until_s: When the approval ends, seconds since 1970.
        deployments: Ids of whom it is for; empty: all that are affected.
    """
    return Statement(
        kind=ALTERNATIVE,
        subjects={"directive": directive},
        predicate={
            "register": register,
            "directive": directive,
            "means": means,
            "limits": dict(limits),
            "until_s": until_s,
            "deployments": list(deployments),
        },
    )


def release(
    register: str,
    directive: str,
    *,
    evidence: Sequence[str],
    deployments: Sequence[str] = (),
) -> Statement:
    """Return the end of a directive; an authority signs it, and not one who gave the evidence.

    Args:
        register: Id of the register it is for.
        directive: Digest of the directive.
        evidence: Digests of registered statements that show the closing action.
        deployments: Ids of whom it is for; empty: all, the directive is over.
    """
    return Statement(
        kind=RELEASE,
        subjects={"directive": directive},
        predicate={
            "register": register,
            "directive": directive,
            "evidence": _some(evidence),
            "deployments": list(deployments),
        },
    )


def check_form(statement: Statement) -> None:
    """Refuse an order, or an answer to one, that could not be read when it matters.

    Raises:
        DamagedData: A field is missing or of another type.
        UnknownName: It restricts what cannot be restricted.
        InvalidConfig: It restricts to what is no number.
    """
    if statement.kind == DIRECTIVE:
        check_restriction(Directive.from_statement(statement).limits)
        return
    for name, kinds in _FORMS[statement.kind].items():
        value = statement.predicate.get(name)
        if not isinstance(value, kinds) or (name in _NEVER_EMPTY and not value):
            raise DamagedData(f"{name!r} of this {statement.kind} is {value!r}")
    if statement.kind == ALTERNATIVE:
        check_restriction(_mapping(statement.predicate["limits"]))


_NEVER_EMPTY = ("directive", "evidence", "deployment", "means", "certificate")
_FORMS: dict[str, dict[str, tuple[type, ...]]] = {
    SUSPENSION: {"certificate": (str,)},
    CLOSURE: {"directive": (str,), "evidence": (list, tuple), "deployment": (str,)},
    ALTERNATIVE: {
        "directive": (str,),
        "means": (str,),
        "limits": (Mapping,),
        "until_s": (int, float),
        "deployments": (list, tuple),
    },
    RELEASE: {"directive": (str,), "evidence": (list, tuple), "deployments": (list, tuple)},
}


def _some(evidence: Sequence[str]) -> list[str]:
    if not evidence:
        raise InvalidConfig("there is no release and no closure without evidence; register some")
    return list(evidence)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no table")
    return value
