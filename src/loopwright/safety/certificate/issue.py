"""Issuing: the proposer draws a certificate up from the register, another person approves it.

The approver does not sign what is handed over but what the register says: the count is repeated
from the plan and the looks, and the signature is refused if anything differs.
"""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.core.errors import NotCertified, Untrusted
from loopwright.safety.certificate.campaign import Account, read_account
from loopwright.safety.certificate.document import Certificate, Degraded
from loopwright.safety.certificate.identity import Identity
from loopwright.safety.certificate.plan import Register
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.statement import Signed

_S_PER_DAY = 86_400


def issue(
    plan: str,
    register: Register,
    key: SigningKey,
    *,
    identity: Identity,
    now_s: float,
    valid_days: float = 90,
    degraded: Sequence[Degraded] = (),
) -> Signed:
    """Draw up a certificate and sign it as the proposer; it counts for nothing until approved.

    Args:
        plan: Digest of the plan whose campaign showed every claim.
        register: Where plan and episodes are logged.
        key: The key that the plan was registered with.
        identity: Of what lies here *now*, digested anew.
        now_s: Seconds since 1970.
        valid_days: Until it expires.
        degraded: What may be out of order under it.

    Raises:
        NotCertified: A claim is not shown, or something is not what was tested.
        Untrusted: Another key registered the plan.
    """
    account = read_account(plan, register)
    _refuse_unless_shown(account)
    _refuse_differences(identity, account.plan.identity)
    if key.id != account.signer:
        raise Untrusted(f"plan {plan[:16]} was registered with key {account.signer}, not {key.id}")
    certificate = _certificate(account, now_s, now_s + valid_days * _S_PER_DAY, tuple(degraded))
    return Signed.by(certificate.statement(), key)


def approve(
    signed: Signed,
    register: Register,
    ring: KeyRing,
    key: SigningKey,
    *,
    identity: Identity,
    now_s: float,
) -> Signed:
    """Check a certificate against the register, and sign it as the approver.

    Args:
        signed: What the proposer signed.
        register: Where plan and episodes are logged.
        ring: Who is trusted with what.
        key: Of an approver, who must be another person than the proposer.
        identity: Of what lies here *now*, digested anew.
        now_s: Seconds since 1970.

    Raises:
        NotCertified: It says something else than the register, or is not valid now.
        Untrusted: A signature does not hold, or one person would sign twice.
    """
    certificate = Certificate.from_statement(signed.statement)
    account = read_account(certificate.plan, register)
    _refuse_unless_shown(account)
    _refuse_differences(identity, account.plan.identity)
    if signed.signatures[0][0] != account.signer:
        raise Untrusted(
            f"the certificate is signed with key {signed.signatures[0][0]}, "
            f"its plan with {account.signer}"
        )
    shown = _certificate(account, certificate.issued_s, certificate.expires_s, certificate.degraded)
    if shown.statement().to_json() != signed.statement.to_json():
        raise NotCertified("the certificate says something else than the register; draw it up anew")
    if not certificate.issued_s <= now_s < certificate.expires_s:
        raise NotCertified(f"the certificate is not valid at {now_s}; draw it up anew")
    approved = signed.and_by(key)
    approved.require(ring, "proposer", "approver")
    return approved


def _certificate(
    account: Account, issued_s: float, expires_s: float, degraded: tuple[Degraded, ...]
) -> Certificate:
    """Return what a register shows, with what people add to it."""
    plan = account.plan
    return Certificate(
        identity=plan.identity,
        scenario=plan.scenario,
        level=plan.level,
        domain={stratum.name: stratum.domain for stratum in plan.strata},
        claims=account.tally.claims(),
        alpha=plan.alpha,
        attempt=plan.attempt,
        plan=plan.digest,
        logged=account.logged,
        issued_s=issued_s,
        expires_s=expires_s,
        degraded=degraded,
    )


def _refuse_unless_shown(account: Account) -> None:
    standing, why = account.tally.standing()
    if standing != "shown":
        raise NotCertified(f"plan {account.plan.digest[:16]} is {standing}: {why}")


def _refuse_differences(now: Identity, tested: Identity) -> None:
    changed = now.differences(tested)
    if changed:
        raise NotCertified(
            f"{' and '.join(changed)} is not what was tested; "
            "restore it, or register a plan for what it is now"
        )
