from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from certificate_parts import (
    ADA,
    BOB,
    DAY_S,
    EVE,
    NOW_S,
    RING,
    Line,
    ListRegister,
    identity,
    opened,
    plan,
    shown,
    stratum,
    trials,
)

from loopwright.core.errors import NotCertified, SafetyError, Untrusted
from loopwright.core.scenario import Box
from loopwright.safety.certificate.claims import Aim, level_aims
from loopwright.safety.certificate.document import Certificate, Degraded
from loopwright.safety.certificate.identity import Identity
from loopwright.safety.certificate.issue import issue
from loopwright.safety.certificate.tree import digest_every_file
from loopwright.safety.certificate.verify import (
    open_for_deployment,
    read_certificate,
    suspended,
    verify_certificate,
)
from loopwright.safety.statement import Signed, Statement

TODAY = datetime.fromtimestamp(NOW_S, UTC).date()
NO_CAMERA = Degraded(
    absent=("wrist camera",), category="B", filter="f" * 64, condition="one person watches"
)
NO_CAMERA_NO_LAMP = Degraded(
    absent=("lamp", "wrist camera"), category="D", filter="e" * 64, condition="walking pace"
)


def drawn_up() -> Certificate:
    register = ListRegister()
    shown(register)
    signed = issue(
        plan().digest,
        register,
        ADA,
        identity=identity(),
        now_s=NOW_S,
        degraded=(NO_CAMERA, NO_CAMERA_NO_LAMP),
    )
    return Certificate.from_statement(signed.statement)


GOOD = drawn_up()
APPROVED = Signed.by(GOOD.statement(), ADA, BOB)


def verified(signed: Signed = APPROVED, now_s: float = NOW_S, **more: object) -> Certificate:
    about = more.pop("identity", identity())
    return verify_certificate(signed, RING, about, now_s, **more)  # type: ignore[arg-type]


def test_a_certificate_that_two_people_signed_holds() -> None:
    assert verified() == GOOD
    assert verified(Signed.by(GOOD.statement(), BOB, ADA)) == GOOD
    assert verified(Signed.by(GOOD.statement(), ADA, EVE)) == GOOD


@pytest.mark.parametrize("keys", [(), (ADA,), (BOB,), (EVE,), (EVE, EVE), (ADA, ADA)])
def test_without_proposer_and_approver_it_does_not(keys: tuple[object, ...]) -> None:
    with pytest.raises(Untrusted):
        verified(Signed.by(GOOD.statement(), *keys))  # type: ignore[arg-type]


def test_a_word_changed_after_signing_is_noticed() -> None:
    other = replace(GOOD, level="B")
    with pytest.raises(Untrusted, match="does not fit"):
        verified(Signed(statement=other.statement(), signatures=APPROVED.signatures))


@pytest.mark.parametrize("part", ["candidate", "scenario", "robot", "filter", "build"])
def test_it_covers_exactly_what_was_tested(part: str) -> None:
    with pytest.raises(NotCertified, match=f"^{part} is not what certificate {GOOD.digest[:16]}"):
        verified(identity=identity(**{part: "x"}))


def test_all_that_differs_is_named() -> None:
    with pytest.raises(NotCertified, match=r"^candidate and filter is not"):
        verified(identity=identity(candidate="x", filter="y"))


@pytest.mark.parametrize(
    ("moment_s", "holds"),
    [
        (NOW_S - 1, False),
        (NOW_S, True),
        (NOW_S + 90 * DAY_S - 1, True),
        (NOW_S + 90 * DAY_S, False),
        (float("nan"), False),
        (float("inf"), False),
        (-1.0, False),
    ],
)
def test_it_holds_in_its_time(moment_s: float, holds: bool) -> None:
    if holds:
        verified(now_s=moment_s)
    else:
        with pytest.raises(NotCertified, match="is valid from"):
            verified(now_s=moment_s)


def test_a_suspended_certificate_does_not_hold() -> None:
    with pytest.raises(NotCertified, match=f"certificate {GOOD.digest[:16]} is suspended"):
        verified(revoked={GOOD.digest})
    verified(revoked={"0" * 64})


def test_the_register_says_what_is_suspended() -> None:
    def line(kind: str, certificate: str) -> Line:
        statement = Statement(kind=kind, subjects={}, predicate={"certificate": certificate})
        return Line(1, Signed.by(statement, BOB))

    entries = [line("suspension/v1", "a"), line("rule/v1", "b"), line("suspension/v1", "c")]
    assert suspended(entries) == {"a", "c"}
    assert suspended([]) == frozenset()


@pytest.mark.parametrize("kind", ["directive/v1", "certificate/v2"])
def test_another_statement_is_no_certificate(kind: str) -> None:
    statement = Statement(kind=kind, subjects={}, predicate=GOOD.to_json())
    with pytest.raises(NotCertified, match=f"this is a {kind}"):
        verified(Signed.by(statement, ADA, BOB))


def signed_with(**changes: object) -> Signed:
    return Signed.by(replace(GOOD, **changes).statement(), ADA, BOB)  # type: ignore[arg-type]


def claims_with(**changes: object) -> tuple[object, ...]:
    return (replace(GOOD.claims[0], **changes), *GOOD.claims[1:])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"claims": claims_with(failed=8)}, "not shown by its own numbers: violation, near"),
        ({"claims": claims_with(episodes=60)}, "not shown by its own numbers"),
        ({"claims": claims_with(unknown=9)}, "not shown by its own numbers"),
        ({"claims": claims_with(least_episodes=151)}, "not shown by its own numbers"),
        ({"claims": claims_with(alpha=0.05)}, "the budget of a claim is 0.05, its share is 0.0125"),
        ({"claims": claims_with(alpha=0.0124)}, "the budget of a claim"),
        ({"attempt": 2}, "the budget of a claim"),
        ({"alpha": 0.04}, "the budget of a claim"),
        ({"level": "C"}, "in near it claims 0.05; level C takes 0.01"),
        ({"level": "B"}, "level B takes 0.001"),
        ({"claims": claims_with(bound=None)}, "it claims None; level D takes 0.05"),
        ({"claims": claims_with(kind="task-failure")}, "of near with filter-on"),
        ({"claims": claims_with(arm="filter-off")}, "of near with filter-on"),
        ({"claims": claims_with(stratum="far")}, "of near with filter-on"),
        ({"domain": {**GOOD.domain, "far": Box(low={}, high={})}}, "of far with filter-on"),
    ],
)
def test_signatures_do_not_make_a_wrong_sum_right(change: dict[str, object], message: str) -> None:
    with pytest.raises(NotCertified, match=message):
        verified(signed_with(**change))


def test_violations_without_the_filter_must_be_stated_in_every_stratum() -> None:
    quarter = GOOD.claims[0].alpha * 2
    alone = (replace(GOOD.claims[0], alpha=quarter),)
    with pytest.raises(NotCertified, match="of near with filter-off"):
        verified(signed_with(claims=alone))
    third = GOOD.claims[0].alpha * 2 / 3
    twice = tuple(replace(c, alpha=third) for c in (*GOOD.claims, GOOD.claims[0]))
    with pytest.raises(NotCertified, match="two things, of near with filter-on"):
        verified(signed_with(claims=tuple(replace(c, episodes=150) for c in twice)))


def test_every_stratum_must_reach_the_level() -> None:
    one = plan(
        strata=(stratum(), stratum("far", 500)),
        aims=(
            Aim(kind="violation", arm="filter-on", bound=0.05),
            Aim(kind="violation", arm="filter-off", bound=None, episodes=5),
        ),
    )
    register = ListRegister()
    campaign = opened(one, register)
    for name, arm in one.cells:
        campaign.record(*trials(campaign, name, arm, 150 if arm == "filter-on" else 5))
    signed = issue(one.digest, register, ADA, identity=identity(), now_s=NOW_S)
    assert verified(signed.and_by(BOB)).level_without_filter is None
    certificate = Certificate.from_statement(signed.statement)
    weaker = tuple(
        replace(c, bound=0.2) if (c.stratum, c.arm) == ("far", "filter-on") else c
        for c in certificate.claims
    )
    forged = replace(certificate, claims=weaker)
    with pytest.raises(NotCertified, match=r"in far it claims 0.2; level D takes 0.05"):
        verified(Signed.by(forged.statement(), ADA, BOB))


def test_a_second_attempt_holds_at_its_smaller_budget() -> None:
    register = ListRegister()
    opened(plan(), register).end("given up")
    second = plan(strata=(stratum(first=1000),), previous=(plan().digest,), aims=level_aims("D"))
    campaign = opened(second, register)
    for name, arm in second.cells:
        campaign.record(*trials(campaign, name, arm, 160))
    signed = issue(second.digest, register, ADA, identity=identity(), now_s=NOW_S)
    certificate = verified(signed.and_by(BOB))
    assert certificate.attempt == 2
    concealed = replace(certificate, attempt=1)
    with pytest.raises(NotCertified, match="the budget of a claim"):
        verified(Signed.by(concealed.statement(), ADA, BOB))


# -- degraded dispatch ----------------------------------------------------------------------------


def degraded(filter_digest: str) -> Identity:
    return replace(identity(), filter=filter_digest)


def test_what_is_listed_may_be_off_with_the_filter_that_is_listed() -> None:
    found = {"wrist camera": TODAY}
    assert verified(absent=found, identity=degraded("f" * 64)) == GOOD
    for other in (identity(), degraded("e" * 64)):
        with pytest.raises(NotCertified, match=r"^filter is not what certificate"):
            verified(absent=found, identity=other)


def test_exactly_what_is_listed_may_be_off() -> None:
    both = {"wrist camera": TODAY, "lamp": TODAY}
    assert verified(absent=both, identity=degraded("e" * 64))
    for absent in ({"lamp": TODAY}, {**both, "voice": TODAY}):
        with pytest.raises(NotCertified, match="does not cover motion without lamp"):
            verified(absent=absent, identity=degraded("e" * 64))


def test_the_tighter_filter_is_no_filter_for_every_day() -> None:
    with pytest.raises(NotCertified, match=r"^filter is not"):
        verified(identity=degraded("f" * 64), absent={})


def test_what_is_off_must_be_mended_in_time() -> None:
    late = date.fromordinal(TODAY.toordinal() - 4)
    with pytest.raises(NotCertified, match="wrist camera may be off for the time of category B"):
        verified(absent={"wrist camera": late}, identity=degraded("f" * 64))
    just = date.fromordinal(TODAY.toordinal() - 3)
    assert verified(absent={"wrist camera": just}, identity=degraded("f" * 64))
    tomorrow = date.fromordinal(TODAY.toordinal() + 1)
    with pytest.raises(NotCertified, match="over or has not begun"):
        verified(absent={"wrist camera": tomorrow}, identity=degraded("f" * 64))
    very_late = date.fromordinal(TODAY.toordinal() - 121)
    one_late = {"wrist camera": TODAY, "lamp": very_late}
    with pytest.raises(NotCertified, match="category D"):
        verified(absent=one_late, identity=degraded("e" * 64))


# -- loading --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "candidate"
    place.mkdir()
    (place / "weights.json").write_text("[1, 2]")
    return place


@pytest.fixture
def load(folder: Path, tmp_path: Path) -> Callable[[], Certificate]:
    about = replace(identity(), candidate=digest_every_file(folder))
    signed = signed_with(identity=about)
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps(signed.to_json()))

    def open_it(**more: object) -> Certificate:
        arguments = {"ring": RING, "identity": identity(), "now_s": NOW_S, **more}
        return open_for_deployment(folder, path, **arguments)  # type: ignore[arg-type]

    return open_it


def test_what_was_tested_may_be_loaded(load: Callable[[], Certificate], folder: Path) -> None:
    assert load().identity.candidate == digest_every_file(folder)


def test_any_other_byte_is_refused(load: Callable[[], Certificate], folder: Path) -> None:
    (folder / ".git").mkdir()
    with pytest.raises(NotCertified, match=r"^candidate is not what certificate"):
        load()


def test_what_the_caller_believes_of_the_folder_counts_for_nothing(
    load: Callable[..., Certificate], folder: Path
) -> None:
    believed = replace(identity(), candidate=digest_every_file(folder))
    (folder / "more").touch()
    with pytest.raises(NotCertified, match=r"^candidate is not"):
        load(identity=believed)


def test_links_and_missing_folders_are_refused(
    load: Callable[[], Certificate], folder: Path
) -> None:
    (folder / "link").symlink_to("weights.json")
    with pytest.raises(NotCertified, match=r"cannot be certified: .* is a link"):
        load()
    (folder / "link").unlink()
    (folder / "weights.json").unlink()
    folder.rmdir()
    with pytest.raises(NotCertified, match=r"cannot be certified: .* cannot be read"):
        load()


def test_suspension_absence_and_time_are_heeded(load: Callable[..., Certificate]) -> None:
    digest = load().digest
    for more in (
        {"revoked": {digest}},
        {"absent": {"lamp": TODAY}},
        {"now_s": NOW_S - 1},
        {"identity": identity(robot="x")},
    ):
        with pytest.raises(NotCertified):
            load(**more)


@pytest.mark.parametrize(
    "text", [None, "", "[]", "{}", "\x00", "[" * 100_000, json.dumps({"payload": 3})]
)
def test_without_a_readable_certificate_nothing_is_loaded(
    load: Callable[[], Certificate], tmp_path: Path, text: str | None
) -> None:
    (tmp_path / "certificate.json").unlink()
    if text is not None:
        (tmp_path / "certificate.json").write_text(text)
    with pytest.raises(NotCertified, match=r"certificate\.json is no certificate"):
        load()


def test_a_certificate_file_comes_back_equal(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(APPROVED.to_json(), indent=3))
    assert read_certificate(tmp_path / "one.json") == APPROVED


def test_every_flipped_bit_of_a_certificate_file_is_refused_or_harmless(tmp_path: Path) -> None:
    """White space and letter case of escapes may change; what is said, and by whom, may not."""
    text = bytearray(json.dumps(APPROVED.to_json()).encode())
    path = tmp_path / "one.json"
    for place in range(0, len(text), 37):
        text[place] ^= 4
        path.write_bytes(text)
        try:
            found = verified(read_certificate(path))
        except SafetyError:
            pass
        else:
            assert found == GOOD
        text[place] ^= 4


LIGHT = {
    "numpy",
    "cryptography",
    "_cffi_backend",
    "_openssl",
    "loopwright.core",
    "loopwright.safety",
}


def test_the_verifier_needs_numpy_and_cryptography_and_nothing_else(tmp_path: Path) -> None:
    """It is imported, and asked, in a process of its own."""
    program = """
import json, sys
before = set(sys.modules)
from pathlib import Path
from loopwright.safety.certificate.identity import Identity
from loopwright.safety.certificate.verify import read_certificate, verify_certificate
from loopwright.safety.keys import KeyRing
ring, certificate, identity, now_s = sys.argv[1:]
verify_certificate(
    read_certificate(Path(certificate)), KeyRing.read(Path(ring)),
    Identity.from_json(json.loads(identity)), float(now_s),
)
print(json.dumps(sorted(set(sys.modules) - before - set(sys.builtin_module_names))))
"""
    RING.write(tmp_path / "ring.json")
    (tmp_path / "one.json").write_text(json.dumps(APPROVED.to_json()))
    about = json.dumps(identity().to_json())
    arguments = [str(tmp_path / "ring.json"), str(tmp_path / "one.json"), about, str(NOW_S)]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    rooms = {
        ".".join(name.split(".")[: 2 if name.startswith("loopwright.") else 1])
        for name in json.loads(done.stdout)
    }
    assert rooms - set(sys.stdlib_module_names) - LIGHT == {"loopwright"}
