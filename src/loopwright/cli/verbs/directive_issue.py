"""``loopwright directive issue``: order every affected deployment to stop, slow down or be seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, digest_named, moment, order_named
from loopwright.core.errors import InvalidConfig
from loopwright.safety.directive.deployment import KIND, Deployment
from loopwright.safety.directive.match import Clause, Match
from loopwright.safety.directive.orders import Action, Directive
from loopwright.safety.keys import SigningKey
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Under what terms it is ordered."""

    limits: str = "{}"
    """Of 'restrict': JSON of the limits that hold, '{"point_speed_m_s": 0.1}'."""
    comply_by: str | None = None
    """From when it binds, 2026-11-22T14:00 (UTC); at once by default."""
    closing_action: str = ""
    """What has to be done before it is released."""
    supersedes: tuple[str, ...] = ()
    """Numbers of directives that it takes the place of."""
    evidence: tuple[str, ...] = ()
    """Numbers or digests of entries that show why the superseded ones may end."""


def main(
    action: Annotated[Action, tyro.conf.Positional],
    /,
    *,
    reason: str,
    key: Path,
    which: Annotated[Clause, tyro.conf.OmitArgPrefixes],
    terms: Annotated[Terms, tyro.conf.OmitArgPrefixes] = Terms(),
    place: Place = DEFAULT_PLACE,
) -> int:
    """Issue a directive; deployments that it affects act within seconds.

    A deployment is affected if it fits every condition that is given; for each, one of its values.

    Args:
        action: Stop, keep tighter limits, or be inspected until the compliance time.
        reason: What is unsafe, in a sentence.
        key: Private key of an authority.
        which: Whom it is about.
        terms: Under what terms.
        place: Where the register lies.
    """
    try:
        limits: dict[str, Any] = json.loads(terms.limits)
    except ValueError as error:
        raise InvalidConfig(f"limits {terms.limits!r} are no JSON: {error}") from error
    with place.open() as register:
        directive = Directive(
            number=register.last_directive + 1,
            match=Match(any_of=(which,)),
            action=action,
            reason=reason,
            closing_action=terms.closing_action,
            comply_by_s=moment(terms.comply_by) if terms.comply_by else 0.0,
            limits=limits,
            supersedes=tuple(order_named(register, name).digest for name in terms.supersedes),
            evidence=tuple(digest_named(register, name) for name in terms.evidence),
        )
        number = _append(register, directive, SigningKey.read(key))
        print(f"directive {number}: {action}, {reason}")
        affected = _affected(register, directive)
        print(f"affects {len(affected)} known deployments: {', '.join(affected) or 'none'}")
    return 0


def _append(register: Register, directive: Directive, key: SigningKey) -> int:
    """Register a directive and return its number; somebody may have taken it meanwhile."""
    register.refresh()
    directive = replace(directive, number=register.last_directive + 1)
    register.append(Signed.by(directive.statement(register.id), key))
    return directive.number


def _affected(register: Register, directive: Directive) -> list[str]:
    """Return the ids of the deployments that the register knows and the directive affects."""
    latest = {
        deployment.id: deployment
        for entry in register.statements(KIND)
        for deployment in [Deployment.from_json(entry.statement.predicate)]
    }
    return sorted(name for name, found in latest.items() if directive.match.affects(found))
