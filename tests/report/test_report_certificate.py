"""What a page and a terminal say of certificates: never more than there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_run import certificate, claim, digest, synthetic_run

from loopwright.report.certificate import CertificateReport
from loopwright.report.page import render_page
from loopwright.report.run import RunReport
from loopwright.report.wording import certificate_lines


def run_with(found: CertificateReport | None, **changes: object) -> RunReport:
    """The made-up run, its promotion with another certificate."""
    run = synthetic_run()
    turns = tuple(
        replace(turn, certificate=found) if turn.certificate else turn for turn in run.rounds
    )
    return replace(run, rounds=turns, films=(), imaginations=(), **changes)  # type: ignore[arg-type]


def test_one_line_has_level_claims_people_and_expiry() -> None:
    (line,) = certificate_lines(synthetic_run())
    assert line == (
        "certificate: level D, in force: violations < 5 % filter on (0 of 104); "
        "violations < 5 % filter off (0 of 104); proposed by demo proposer, approved by demo "
        "approver (demo keys: one process signed as both, which is not two people); "
        "expires 2027-02-20; evidence from simulation"
    )


@pytest.mark.parametrize("state", ["expired", "suspended", "not found"])
def test_a_certificate_that_holds_no_longer_is_not_shown_as_one_that_does(state: str) -> None:
    run = run_with(certificate(digest("round-2"), state=state))
    assert f"level D, {state}" in certificate_lines(run)[0]
    assert "in force" not in render_page(run)


def test_a_refused_one_says_why_and_what_was_not_shown() -> None:
    lost = claim("filter-off", 5, 15, upper_bound=0.745, met=False)
    refused = certificate(
        digest("round-2"),
        state="refused",
        reason="no certificate: lost: out of reach",
        claims=(claim("filter-on", 0, 104), lost),
        approved_by="",
        certificate="",
    )
    page = render_page(run_with(refused))
    assert "No certificate: lost: out of reach." in page
    assert "not shown" in page
    assert "74.5 %" in page
    assert "demo keys" not in page, "nobody signed as two"


def test_a_stated_claim_is_no_claim_of_a_level() -> None:
    bare = claim("filter-off", 18, 60, bound=None, upper_bound=0.522)
    found = certificate(digest("round-2"), claims=(claim("filter-on", 0, 104), bare))
    assert "violations stated, filter off (18 of 60)" in certificate_lines(run_with(found))[0]


def test_the_certificate_of_a_former_champion_is_not_the_champions() -> None:
    run = run_with(certificate(digest("somebody else")))
    assert "none; the first champion" in certificate_lines(run)[0]


def test_what_waits_and_what_asks_for_nothing() -> None:
    waits = run_with(None, waits_for="level D is shown; it waits for another person")
    assert certificate_lines(waits) == [f"certificate: {waits.waits_for}"]
    assert "waits for another person." in render_page(waits)
    nothing = run_with(None, certificate_level="")
    assert certificate_lines(nothing) == []
    assert 'id="certificate"' not in render_page(nothing)
