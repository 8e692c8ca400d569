"""Verifying: may exactly this combination move, now?

Needs NumPy, cryptography and nothing else, so that it runs on a robot. Everything is refused that
is not plainly in order; there is no argument that makes it lenient.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from loopwright.core.errors import DamagedData, NotCertified, UnsafeCandidate
from loopwright.safety.certificate.claims import ARMS, bound_of
from loopwright.safety.certificate.document import Certificate
from loopwright.safety.certificate.identity import Identity
from loopwright.safety.certificate.plan import claim_alpha
from loopwright.safety.certificate.tree import digest_every_file
from loopwright.safety.keys import KeyRing
from loopwright.safety.statement import Signed

SUSPENSION = "suspension/v1"


def verify_certificate(
    signed: Signed,
    ring: KeyRing,
    identity: Identity,
    now_s: float,
    *,
    revoked: Collection[str] = (),
    absent: Mapping[str, date] | None = None,
) -> Certificate:
    """Return the certificate if it covers exactly this combination now.

    Args:
        signed: The certificate with its signatures.
        ring: Who is trusted with what.
        identity: Of what is about to move, digested from what lies here.
        now_s: Seconds since 1970.
        revoked: Digests of certificates that no longer hold (:func:`suspended`).
        absent: What is out of order, with the day it was found so; None for nothing.

    Raises:
        Untrusted: It is not signed by a proposer and an approver, two people with two keys.
        NotCertified: It does not hold: for this, now, or at all.
    """
    signed.require(ring, "proposer", "approver")
    try:
        certificate = Certificate.from_statement(signed.statement)
    except DamagedData as error:
        raise NotCertified(f"this is no certificate: {error}") from error
    if certificate.digest in revoked:
        raise NotCertified(f"certificate {certificate.digest[:16]} is suspended")
    if not certificate.issued_s <= now_s < certificate.expires_s:
        raise NotCertified(
            f"certificate {certificate.digest[:16]} is valid from {certificate.issued_s:.0f} to "
            f"{certificate.expires_s:.0f} (seconds since 1970); it is {now_s:.0f}"
        )
    changed = identity.differences(_expected(certificate, absent or {}, now_s))
    if changed:
        raise NotCertified(
            f"{' and '.join(changed)} is not what certificate {certificate.digest[:16]} is about"
        )
    _check_claims(certificate)
    return certificate


def _expected(certificate: Certificate, absent: Mapping[str, date], now_s: float) -> Identity:
    """Return the identity that a certificate asks for when some functions are off."""
    if not absent:
        return certificate.identity
    names = tuple(sorted(absent))
    for item in certificate.degraded:
        if item.absent == names:
            if not all(item.may_run_at(found, now_s) for found in absent.values()):
                raise NotCertified(
                    f"{', '.join(names)} may be off for the time of category {item.category} only, "
                    "and that is over or has not begun"
                )
            return replace(certificate.identity, filter=item.filter)
    raise NotCertified(
        f"certificate {certificate.digest[:16]} does not cover motion without {', '.join(names)}"
    )


def _check_claims(certificate: Certificate) -> None:
    """Repeat the arithmetic: signatures do not make a wrong sum right."""
    alpha = claim_alpha(certificate.alpha, certificate.attempt, len(certificate.claims))
    for claim in certificate.claims:
        if claim.alpha != alpha:
            raise NotCertified(f"the budget of a claim is {claim.alpha}, its share is {alpha}")
        if not claim.is_met:
            raise NotCertified(f"a claim is not shown by its own numbers: {claim}")
    bound = bound_of(certificate.level)
    for stratum in certificate.domain:
        for arm in ARMS:
            counted = [
                claim
                for claim in certificate.claims
                if (claim.stratum, claim.arm, claim.kind) == (stratum, arm, "violation")
            ]
            if len(counted) != 1:
                raise NotCertified(f"it says nothing, or two things, of {stratum} with {arm}")
            if arm == "filter-on" and not _is_within(counted[0].bound, bound):
                raise NotCertified(
                    f"in {stratum} it claims {counted[0].bound}; level {certificate.level} takes "
                    f"{bound}"
                )


def _is_within(claimed: float | None, bound: float) -> bool:
    return claimed is not None and claimed <= bound


def suspended(entries: Iterable[Any]) -> frozenset[str]:
    """Return the digests of the certificates that the entries of a register suspend."""
    return frozenset(
        str(entry.signed.statement.predicate["certificate"])
        for entry in entries
        if entry.signed.statement.kind == SUSPENSION
    )


def read_certificate(path: Path) -> Signed:
    """Read a certificate file.

    Raises:
        NotCertified: There is none, or it cannot be read.
    """
    try:
        return Signed.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, DamagedData, RecursionError) as error:
        raise NotCertified(f"{path} is no certificate: {error}") from error


def open_for_deployment(
    folder: Path,
    certificate: Path,
    *,
    ring: KeyRing,
    identity: Identity,
    now_s: float,
    revoked: Collection[str] = (),
    absent: Mapping[str, date] | None = None,
) -> Certificate:
    """Return the certificate under which a candidate folder may be loaded, or refuse.

    The folder is digested here, every file of it; what the caller believes to lie in it counts
    for nothing.

    Args:
        folder: Candidate that is about to be loaded.
        certificate: File of its certificate.
        ring: Who is trusted with what.
        identity: Of scenario, robot, filter and build here; its ``candidate`` is replaced.
        now_s: Seconds since 1970.
        revoked: Digests of certificates that no longer hold.
        absent: What is out of order, with the day it was found so.

    Raises:
        NotCertified: There is no certificate for it, or the folder is not what was tested.
        Untrusted: It is not signed by a proposer and an approver, two people with two keys.
    """
    signed = read_certificate(certificate)
    try:
        found = replace(identity, candidate=digest_every_file(folder))
    except (DamagedData, UnsafeCandidate) as error:
        raise NotCertified(f"{folder} cannot be certified: {error}") from error
    return verify_certificate(signed, ring, found, now_s, revoked=revoked, absent=absent)
