"""Whether a candidate holds the certificate that a recipe asks for, here and now.

Asked before every promotion, rollback and deployment. What does not hold plainly is a refusal; the
register is asked, never a file that lies beside the candidate.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from loopwright.core.errors import InvalidConfig, NotCertified, Untrusted
from loopwright.core.scenario import Scenario
from loopwright.loop.certification import find_rig, identity_with, stratum_boxes
from loopwright.loop.config import CertificateConfig, LoopConfig
from loopwright.loop.signing import Signing
from loopwright.safety.certificate.claims import LEVELS
from loopwright.safety.certificate.document import CERTIFICATE, Certificate
from loopwright.safety.certificate.verify import SUSPENSION, suspended, verify_certificate
from loopwright.safety.entry import Entry
from loopwright.safety.register import Register
from loopwright.safety.statement import Statement
from loopwright.scenarios.registry import get_scenario
from loopwright.store.workspace import Workspace

OBJECTION = "objection/v1"
_NONE_ASKED = (
    "no certificate: recipe {!r} asks for none, so nothing of it is deployed; have it ask for a "
    "level (certificate=CertificateConfig(...)) and run it"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A certificate in force, and its place in the register."""

    certificate: Certificate
    entry: Entry


def certificate_in_force(
    register: Register, config: LoopConfig, candidate: str, now_s: float
) -> Held:
    """Return the newest certificate under which a loop may promote or deploy a candidate.

    Args:
        register: Of the site.
        config: Of the loop; says what is asked for.
        candidate: Digest of every file of the candidate.
        now_s: Seconds since 1970.

    Raises:
        NotCertified: There is none. The message says what is wrong with the newest there is.
    """
    asked = config.certificate
    if asked is None:
        raise NotCertified(_NONE_ASKED.format(config.name))
    scenario = get_scenario(config.scenario)
    identity = identity_with(candidate, scenario, find_rig(scenario, asked.rig))
    revoked = suspended(register.statements(SUSPENSION))
    why = f"none is registered for candidate {candidate[:12]}"
    for entry in _newest_first(register, candidate):
        signed = entry.signed
        try:
            found = Certificate.from_statement(signed.statement)
            if (turned_down := objection_to(register, found.plan)) is not None:
                raise NotCertified(turned_down)
            found = verify_certificate(signed, register.ring, identity, now_s, revoked=revoked)
            require(found, asked, scenario)
        except (NotCertified, Untrusted) as error:
            why = str(error)
            continue
        return Held(certificate=found, entry=entry)
    raise NotCertified(f"no certificate: {why}")


def objection(plan: str, reason: str) -> Statement:
    """Return the statement, for an approver to sign, that a plan's certificate is turned down.

    Raises:
        InvalidConfig: No reason is given.
    """
    if not reason.strip():
        raise InvalidConfig("an objection says why; give a reason")
    return Statement(
        kind=OBJECTION, subjects={"plan": plan}, predicate={"plan": plan, "reason": reason}
    )


def objection_to(register: Register, plan: str) -> str | None:
    """Return who turned a plan's certificate down, and why; None if nobody did."""
    for entry in register.filed(plan, OBJECTION):
        person = register.ring.holder(entry.signed.signatures[0][0]).person
        return f"{person} objects: {entry.statement.predicate['reason']}"
    return None


def certificate_of(workspace: Workspace, config: LoopConfig, candidate: str) -> Held:
    """Return the certificate in force of a candidate, by the register that a workspace uses.

    Raises:
        NotCertified: There is none.
    """
    signing = Signing.of(workspace.root)
    if signing is None:
        if config.certificate is not None:
            raise NotCertified(f"no certificate: {workspace.root} uses no register")
        raise NotCertified(_NONE_ASKED.format(config.name))
    with signing.open() as register:
        return certificate_in_force(register, config, candidate, time.time())


def _newest_first(register: Register, candidate: str) -> list[Entry]:
    return [
        entry
        for entry in register.statements(CERTIFICATE)
        if entry.statement.subjects.get("candidate") == candidate
    ][::-1]


def require(certificate: Certificate, asked: CertificateConfig, scenario: Scenario) -> None:
    """Refuse a certificate that claims less than a recipe asks for.

    Raises:
        NotCertified: It does.
    """
    digest = f"certificate {certificate.digest[:16]}"
    if not _is_as_strict(certificate.level, asked.level):
        raise NotCertified(f"{digest} is of level {certificate.level}, {asked.level} is asked for")
    bare = certificate.level_without_filter
    if asked.unfiltered is None and not _is_as_strict(bare, asked.level):
        raise NotCertified(
            f"{digest} shows level {bare or 'none'} without the filter, {asked.level} is asked for"
        )
    parts = stratum_boxes(scenario, asked.strata).values()
    if not all(part in certificate.domain.values() for part in parts):
        raise NotCertified(f"{digest} does not hold in each part of the domain that is asked for")
    if not _shows_success(certificate, asked.task_failure):
        raise NotCertified(
            f"{digest} does not show that the task fails in less than {asked.task_failure:.1%}"
        )


def _is_as_strict(level: str | None, asked: str) -> bool:
    return level is not None and LEVELS[level] <= LEVELS[asked]  # type: ignore[index]


def _shows_success(certificate: Certificate, asked: float | None) -> bool:
    if asked is None:
        return True
    shown = {
        c.stratum
        for c in certificate.claims
        if (c.kind, c.arm) == ("task-failure", "filter-on")
        and c.bound is not None
        and c.bound <= asked
    }
    return shown >= set(certificate.domain)
