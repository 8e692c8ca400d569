"""The certificate on a page: what was claimed and counted, who answers for it, what it is about."""

from __future__ import annotations

from collections.abc import Mapping

from loopwright.report import wording
from loopwright.report.certificate import CertificateReport, CertificateState, ClaimReport
from loopwright.report.layout import aside, badge, grid, section, table
from loopwright.report.markup import Html, element, join
from loopwright.report.rounds import RoundReport
from loopwright.report.run import RunReport

_STATE_BADGES: Mapping[CertificateState, tuple[str, str]] = {
    "in force": ("good", "✓"),
    "refused": ("bad", "✕"),
    "expired": ("warn", "■"),
    "suspended": ("bad", "✕"),
    "not found": ("warn", "?"),
}
_LEAD = (
    "A challenger that wins at the gate is then tested for safety, on sealed starts that nothing "
    "else has used and by a plan that was registered before the first episode. It is promoted only "
    "with a certificate, which two people sign. This is evidence from simulation about exactly "
    "these files."
)
_DEMO = (
    "These are demo keys. One process made both and signed as both, so this shows how it works; it "
    "is not the word of two people, and no other register trusts these keys."
)
_NONE = (
    "No champion of this run holds a certificate. The first champion never does: it is what later "
    "ones are compared with, it acts in simulation only, and it cannot be deployed."
)


def certificates(run: RunReport) -> Html | None:
    """Every certificate that a challenger needed, whether it got it or not."""
    if not run.certificate_level:
        return None
    asked = [turn for turn in run.rounds if turn.certificate is not None]
    waits = element("p", wording.sentence(f"Certificate: {run.waits_for}"), class_="notice")
    body = join(
        waits if run.waits_for else None,
        *(_certificate(turn, turn.certificate) for turn in asked if turn.certificate),
        None if run.champion_certificate or run.waits_for else element("p", _NONE),
    )
    return section("certificate", "Certificate", _LEAD, body)


def _certificate(turn: RoundReport, found: CertificateReport) -> Html:
    tone, sign = _STATE_BADGES[found.state]
    head = element(
        "h3",
        f"Round {turn.index}, level {found.level}: violations in less than "
        f"{found.bound * 100:g} % of episodes ",
        badge(tone, sign, found.state),
    )
    reason = element("p", wording.sentence(found.reason)) if found.state == "refused" else None
    note = element("p", _DEMO, class_="notice") if found.is_demo and found.approved_by else None
    return join(head, reason, note, _claims(found), grid([_people(found), _subjects(found)]))


def _claims(found: CertificateReport) -> Html:
    heads = ("Claim", "Where", "Failed", "At most", "To show", "")
    return table(heads, [_claim_row(claim) for claim in found.claims])


def _claim_row(claim: ClaimReport) -> tuple[str | Html, ...]:
    stated = claim.bound is None
    mark = badge("quiet", "·", "stated") if stated else badge("good", "✓", "shown")
    if not claim.met:
        mark = badge("bad", "✕", "not shown")
    unknown = f", {claim.unknown} unknown" if claim.unknown else ""
    return (
        wording.capital(wording.claim_kind(claim)),
        wording.claim_place(claim),
        f"{claim.failed} of {claim.episodes}{unknown}",
        join(f"{claim.upper_bound * 100:.4g} % ", aside(f"at {claim.confidence:.2%}")),
        wording.DASH if claim.bound is None else f"< {claim.bound * 100:g} %",
        mark,
    )


def _people(found: CertificateReport) -> Html:
    rows = [
        ("Proposed by", found.proposed_by),
        ("Approved by", found.approved_by or ("nobody" if found.proposed_by else "")),
        ("Issued", _moment(found.issued_utc)),
        ("Expires", _moment(found.expires_utc)),
        ("Episodes", f"{found.episodes:,}"),
        ("Attempt", f"{found.attempt} for this candidate"),
    ]
    return table(None, [(name, value) for name, value in rows if value], "pairs")


def _moment(utc: str) -> str:
    return f"{utc[:16].replace('T', ' ')} UTC" if utc else ""


def _subjects(found: CertificateReport) -> Html | None:
    digests = {"certificate": found.certificate, "test plan": found.plan, **found.identity}
    rows = [
        (wording.capital(name), element("code", digest[:16])) for name, digest in digests.items()
    ]
    held = [row for row, digest in zip(rows, digests.values(), strict=True) if digest]
    return table(None, held, "pairs")
