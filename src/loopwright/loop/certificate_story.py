"""A certificate as a report: what a round recorded of it, and what the register says by now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from loopwright.core.errors import DamagedData, StorageError, Untrusted
from loopwright.loop.certified import objection_to
from loopwright.loop.records import Certification, RoundRecord
from loopwright.loop.signing import Signing
from loopwright.report.certificate import CertificateReport, CertificateState, ClaimReport
from loopwright.safety.certificate.claims import Claim, bound_of
from loopwright.safety.certificate.document import CERTIFICATE, Certificate
from loopwright.safety.certificate.verify import SUSPENSION, suspended
from loopwright.safety.entry import Entry
from loopwright.safety.register import Register
from loopwright.store.workspace import Workspace


def certificate_report(workspace: Workspace, record: RoundRecord) -> CertificateReport | None:
    """Return what became of the certificate of a round's challenger; None if none was asked for.

    Who signed, and until when it holds, comes from the register. Where that cannot be read, what
    was recorded is told without it.
    """
    found = record.certification
    if found is None:
        return None
    told = CertificateReport(
        level=found.level,
        bound=bound_of(found.level),
        state="not found" if found.holds else "refused",
        reason=found.reason,
        candidate=record.challenger,
        plan=found.plan,
        attempt=found.attempt,
        claims=tuple(map(_claim, found.claims)),
    )
    signing = Signing.of(workspace.root)
    if signing is None:
        return told
    try:
        with signing.open() as register:
            return replace(_with_register(told, found, register), is_demo=signing.is_demo)
    except (DamagedData, StorageError, Untrusted) as error:
        return replace(told, reason=f"{told.reason}; the register cannot be read: {error}")


def _with_register(
    told: CertificateReport, found: Certification, register: Register
) -> CertificateReport:
    plan = register.find(found.plan)
    if plan is None:
        return told
    people = {"proposed_by": _signer(plan, 0, register)}
    entries = list(register.filed(found.plan, CERTIFICATE))
    if not entries:
        return replace(told, **people)
    entry = entries[-1]
    certificate = Certificate.from_statement(entry.statement)
    revoked = suspended(register.statements(SUSPENSION))
    holds = found.holds and objection_to(register, found.plan) is None
    return replace(
        told,
        **people,
        approved_by=_signer(entry, 1, register),
        state=_state(certificate, revoked, holds=holds),
        certificate=certificate.digest,
        issued_utc=_utc(certificate.issued_s),
        expires_utc=_utc(certificate.expires_s),
        identity=certificate.identity.subjects,
    )


def _signer(entry: Entry, place: int, register: Register) -> str:
    return register.ring.holder(entry.signed.signatures[place][0]).person


def _state(certificate: Certificate, revoked: frozenset[str], *, holds: bool) -> CertificateState:
    if certificate.digest in revoked:
        return "suspended"
    if time.time() >= certificate.expires_s:
        return "expired"
    return "in force" if holds else "refused"


def _claim(data: Mapping[str, Any]) -> ClaimReport:
    claim = Claim.from_json(cast("dict[str, Any]", data))
    return ClaimReport(
        kind=claim.kind,
        stratum=claim.stratum,
        arm=claim.arm,
        bound=claim.bound,
        episodes=claim.episodes,
        failed=claim.failed,
        unknown=claim.unknown,
        upper_bound=claim.upper_bound,
        confidence=1.0 - claim.alpha,
        met=claim.is_met,
    )


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")
