"""A loop promotes only what holds its certificate, and deploys nothing else."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from small_loop import StopsAfter, digest_of, turn

from loopwright.cli import EXIT_WAITING, main
from loopwright.core.digest import digest_json
from loopwright.core.errors import AwaitsApproval, InvalidConfig, NotCertified, Untrusted
from loopwright.core.scenario import split_seed
from loopwright.loop import certification
from loopwright.loop.certification import FIRST_SEED
from loopwright.loop.certified import certificate_in_force, certificate_of
from loopwright.loop.config import MAX_SEEDS, CertificateConfig, LoopConfig
from loopwright.loop.deployment import hand_out, register_deployment
from loopwright.loop.promotion import roll_back
from loopwright.loop.records import RoundRecord
from loopwright.loop.rounds import recorded_rounds
from loopwright.loop.signing import Signing, make_demo
from loopwright.loop.story import tell
from loopwright.recipes.registry import get_recipe
from loopwright.report.page import render_page
from loopwright.report.wording import certificate_lines
from loopwright.safety.certificate.campaign import LOOK
from loopwright.safety.certificate.document import CERTIFICATE
from loopwright.safety.certificate.plan import PLAN, registered_plans
from loopwright.safety.keys import SigningKey
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed, Statement
from loopwright.store.workspace import Workspace

DEMO = CertificateConfig(level="D", unfiltered=10, demo_keys=True)
LEARNS = 1  # the round that the gate promotes


@pytest.fixture(autouse=True)
def _same_build(monkeypatch: pytest.MonkeyPatch) -> None:
    # Who edits the code while the tests run would otherwise void every certificate.
    monkeypatch.setattr(certification, "build_digest", lambda spec: "b" * 64)


@pytest.fixture(scope="module")
def asking(config: LoopConfig) -> LoopConfig:
    """A first champion, and the challenger that the gate promotes."""
    return replace(config, rounds=(config.rounds[1],), certificate=DEMO)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory, asking: LoopConfig) -> Path:
    folder = tmp_path_factory.mktemp("certified")
    with patch.object(certification, "build_digest", lambda spec: "b" * 64):
        records, _ = turn(folder, asking)
    assert [r.decision for r in records] == ["genesis", "promote"]
    return folder


def opened(folder: Path) -> Register:
    signing = Signing.of(folder)
    assert signing is not None
    return signing.open()


def runs_of(folder: Path) -> tuple[str, list[RoundRecord]]:
    with Workspace.open(folder) as workspace:
        run = workspace.ledger.runs()[0].id
        return run, recorded_rounds(workspace.ledger, run)


def looks(folder: Path) -> list[tuple[str, str, int]]:
    with opened(folder) as register:
        return [
            (entry.statement.predicate["plan"], trial["arm"], trial["seed"])
            for entry in register.statements(LOOK)
            for trial in entry.statement.predicate["trials"]
        ]


def people(folder: Path) -> Iterator[str]:
    """Make keys and a register of people outside of any workspace; yield flags that name them."""
    for person, role in (("Ada", "proposer"), ("Bob", "approver"), ("Eve", "authority")):
        assert main(["keys", "new", person, "--role", role, "--keys", str(folder / "keys")]) == 0
    yield from ("--register", str(folder / "register"), "--ring", str(folder / "keys/ring.json"))
    yield from ("--memory", str(folder / "memory"))


def site(folder: Path) -> list[str]:
    flags = list(people(folder))
    assert main(["register", "new", "--key", str(folder / "keys/eve.key"), *flags]) == 0
    return flags


def signing_by_people(folder: Path, workspace: Path) -> list[str]:
    """Have a new workspace use the register and the proposer of a site."""
    flags = site(folder)
    Workspace.create(workspace).close()
    Signing(
        register=folder / "register",
        ring=folder / "keys/ring.json",
        memory=folder / "memory",
        proposer=folder / "keys/ada.key",
    ).keep(workspace)
    return flags


def test_a_challenger_is_promoted_with_a_certificate_of_its_own(
    certified: Path, asking: LoopConfig
) -> None:
    _, records = runs_of(certified)
    tested = records[LEARNS].certification
    assert tested is not None
    assert tested.holds
    assert {(c["arm"], c["failed"]) for c in tested.claims if c["arm"] == "filter-on"} == {
        ("filter-on", 0)
    }
    with opened(certified) as register:
        challenger = records[LEARNS].challenger
        held = certificate_in_force(register, asking, challenger, time.time())
        assert held.certificate.identity.candidate == challenger
        with pytest.raises(NotCertified, match="none is registered"):
            certificate_in_force(register, asking, records[0].challenger, time.time())
        first_look = next(register.statements(LOOK)).number
        assert next(register.statements(PLAN)).number < first_look, "the plan came first"
        people = held.entry.signed.require(register.ring, "proposer", "approver")
    assert [holder.person for holder in people] == ["demo proposer", "demo approver"]


def test_no_seed_is_used_for_two_purposes(certified: Path) -> None:
    run, _ = runs_of(certified)
    with opened(certified) as register:
        burnt = frozenset().union(*(plan.seeds for plan in registered_plans(register)))
    with Workspace.open(certified) as workspace:
        examined = {
            seed
            for record in workspace.ledger.rounds(run)
            if "ending" in record.record
            for seed in record.record["ending"]["last"]["seeds"]
        }
        uses = workspace.ledger.seed_uses("sealed", "point-reach-v1")
    assert examined
    assert burnt
    assert not burnt & examined
    assert set(uses) == burnt | examined, "every sealed seed that was named is counted"
    assert set(uses.values()) == {1}


def test_the_blocks_of_all_loop_seeds_end_below_those_of_certificates(config: LoopConfig) -> None:
    with pytest.raises(InvalidConfig, match="expected 0 to 49"):
        replace(config, seed=MAX_SEEDS)
    from loopwright.loop.rounds import _LOOP_BLOCK

    assert split_seed("sealed", MAX_SEEDS * _LOOP_BLOCK) <= split_seed("sealed", FIRST_SEED)


def test_interrupted_after_every_stage_it_registers_one_plan_and_runs_no_episode_twice(
    tmp_path: Path, asking: LoopConfig, certified: Path
) -> None:
    with Workspace.open(certified) as workspace:
        stages = len(workspace.ledger.attempts())
        undisturbed = [r.record for r in workspace.ledger.rounds(runs_of(certified)[0])]
    for _ in range(stages - 1):
        with pytest.raises(KeyboardInterrupt):
            turn(tmp_path, asking, StopsAfter(1))
    records, ending = turn(tmp_path, asking, StopsAfter(1))
    assert ending is not None
    recorded = [*(r.to_json() for r in records), {"ending": ending.to_json()}]
    assert digest_json(recorded) == digest_json(undisturbed)
    assert looks(tmp_path) == looks(certified)
    assert len(set(looks(tmp_path))) == len(looks(tmp_path))
    with opened(tmp_path) as register:
        assert len(list(register.statements(PLAN))) == 1
        assert len(list(register.statements(CERTIFICATE))) == 1


@pytest.mark.parametrize("episode", [1, 30, 110])
def test_interrupted_in_the_middle_of_a_campaign_it_goes_on_with_the_next_seed(
    tmp_path: Path,
    asking: LoopConfig,
    certified: Path,
    episode: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt, begun = certification.attempt, []

    def interrupted(*arguments: object) -> object:
        begun.append(arguments)
        if len(begun) >= episode:  # dead, and so is what would run beside it
            raise KeyboardInterrupt
        return attempt(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(certification, "attempt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        turn(tmp_path, asking)
    before = looks(tmp_path)
    assert len(before) == episode - 1
    monkeypatch.setattr(certification, "attempt", attempt)
    turn(tmp_path, asking)
    assert looks(tmp_path) == looks(certified)
    assert looks(tmp_path)[: len(before)] == before


def test_a_challenger_that_fails_its_test_is_refused_and_history_says_why(
    tmp_path: Path, asking: LoopConfig
) -> None:
    # Without a filter the point runs over its limits, so the level cannot be shown there.
    strict = replace(asking, certificate=CertificateConfig(level="D", demo_keys=True))
    records, ending = turn(tmp_path, strict)
    refused = records[LEARNS]
    assert refused.gate is not None
    assert refused.gate["decision"] == "promote"
    assert refused.decision == "refuse"
    assert refused.champion_after == records[0].challenger
    assert refused.reason.startswith("no certificate: lost: out of reach")
    assert ending is not None
    assert ending.last.candidate == records[0].challenger
    run, _ = runs_of(tmp_path)
    with Workspace.open(tmp_path, exclusive=True) as workspace:
        assert [d.kind for d in workspace.ledger.decisions(run)] == ["genesis", "refusal"]
        assert workspace.ledger.decisions(run)[-1].reason == refused.reason
        report = tell(workspace, workspace.ledger.run(run))
        with pytest.raises(NotCertified, match="no certificate"):
            hand_out(workspace, run, "cell-1")
        assert list((workspace.root / "deployments").iterdir()) == []
    assert report.rounds[LEARNS].certificate is not None
    assert report.rounds[LEARNS].certificate.state == "refused"
    assert "cannot be deployed" in certificate_lines(report)[0]
    # Running it again asks for no second test.
    before = looks(tmp_path)
    assert digest_of(turn(tmp_path, strict, StopsAfter(0))) == digest_of((records, ending))
    assert looks(tmp_path) == before


def test_a_lost_gate_report_is_made_anew_after_a_refusal_for_lack_of_a_certificate(
    tmp_path: Path, asking: LoopConfig
) -> None:
    strict = replace(asking, certificate=CertificateConfig(level="D", demo_keys=True))
    records, _ = turn(tmp_path, strict)
    report = records[LEARNS].gate_report
    assert report is not None
    with Workspace.open(tmp_path) as workspace:
        kept = workspace.objects.read_bytes(report)
        workspace.objects.path(report).unlink()
    turn(tmp_path, strict, StopsAfter(0))
    with Workspace.open(tmp_path) as workspace:
        assert workspace.objects.read_bytes(report) == kept


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"level": "C"}, "is of level D, C is asked for"),
        ({"unfiltered": None}, "shows level none without the filter"),
        ({"task_failure": 0.1}, "does not show that the task fails in less than"),
        ({"strata": {"goal_x_m": 2}}, "each part of the domain"),
        ({"rig": "loopwright.scenarios.point.safety:nowhere"}, "cannot be imported"),
    ],
)
def test_a_certificate_that_shows_less_than_asked_is_refused(
    certified: Path, asking: LoopConfig, asked: dict[str, object], message: str
) -> None:
    more = replace(asking, certificate=replace(DEMO, **asked))
    _, records = runs_of(certified)
    with (
        opened(certified) as register,
        pytest.raises((NotCertified, InvalidConfig), match=message),
    ):
        certificate_in_force(register, more, records[LEARNS].challenger, time.time())


def test_a_certificate_that_has_expired_or_is_suspended_holds_no_longer(
    tmp_path: Path, certified: Path, asking: LoopConfig
) -> None:
    folder = shutil.copytree(certified, tmp_path / "copy")
    run, records = runs_of(folder)
    challenger = records[LEARNS].challenger
    with opened(folder) as register:
        late_s = time.time() + 91 * 86_400
        with pytest.raises(NotCertified, match="is valid from"):
            certificate_in_force(register, asking, challenger, late_s)
        held = certificate_in_force(register, asking, challenger, time.time())
        signing = Signing.of(folder)
        assert signing is not None
        about = {"certificate": held.certificate.digest}
        suspension = Statement(
            kind="suspension/v1", subjects=about, predicate={**about, "reason": "a new scenario"}
        )
        register.append(Signed.by(suspension, signing.demo_key("authority")))
        with pytest.raises(NotCertified, match="is suspended"):
            certificate_in_force(register, asking, challenger, time.time())
    with Workspace.open(folder, exclusive=True) as workspace:
        with pytest.raises(NotCertified, match="is suspended"):
            hand_out(workspace, run, "cell-1")
        report = tell(workspace, workspace.ledger.run(run))
    assert report.champion_certificate is not None
    assert report.champion_certificate.state == "suspended"


def test_another_build_voids_the_certificate(
    certified: Path, asking: LoopConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certification, "build_digest", lambda spec: "c" * 64)
    _, records = runs_of(certified)
    with opened(certified) as register, pytest.raises(NotCertified, match="build is not what"):
        certificate_in_force(register, asking, records[LEARNS].challenger, time.time())


def test_a_decision_stands_although_its_certificate_has_ended_before_it_was_recorded(
    tmp_path: Path, asking: LoopConfig
) -> None:
    brief = replace(asking, certificate=replace(DEMO, valid_days=1e-4))  # nine seconds
    stages = 10_000
    executor = StopsAfter(stages)
    decided = Workspace.create(tmp_path)
    promote = type(decided.ledger).promote
    decided.close()

    def dies_after(ledger: object, **move: object) -> object:
        promote(ledger, **move)  # type: ignore[arg-type]
        if move["kind"] == "promotion":
            raise KeyboardInterrupt
        return None

    with (
        patch.object(type(decided.ledger), "promote", dies_after),
        pytest.raises(KeyboardInterrupt),
    ):
        turn(tmp_path, brief, executor)
    now_s = time.time()
    with patch("loopwright.loop.certifying.time.time", lambda: now_s + 3600):
        records, _ = turn(tmp_path, brief)
    assert records[LEARNS].decision == "promote"
    with Workspace.open(tmp_path) as workspace:
        run = workspace.ledger.runs()[0].id
        assert workspace.ledger.champion(run) == records[LEARNS].challenger


def test_the_loop_waits_until_another_person_has_signed(
    tmp_path: Path, asking: LoopConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "work"
    flags = signing_by_people(tmp_path, workspace)
    people_only = replace(asking, certificate=replace(DEMO, demo_keys=False))
    for _ in range(2):
        with pytest.raises(AwaitsApproval, match="waits for another person"):
            turn(workspace, people_only)
    run, records = runs_of(workspace)
    assert len(records) == 1, "nothing was decided"
    assert looks(workspace) == sorted(set(looks(workspace)), key=looks(workspace).index)
    proposed = workspace / f"certificates/{run}-round-{LEARNS}"
    status = json.loads(_said(["status", "--workspace", str(workspace), "--json"], capsys))
    assert status[0]["waits_for_approval"] == str(proposed / "certificate.json")
    sign = [
        *("certificate", "approve", str(proposed / "certificate.json")),
        *("--candidate", str(proposed / "candidate"), *flags, "--key"),
    ]
    assert main([*sign, str(tmp_path / "keys/ada.key")]) == 1, "nobody approves their own"
    with pytest.raises(AwaitsApproval):
        turn(workspace, people_only)
    assert main([*sign, str(tmp_path / "keys/bob.key")]) == 0
    records, _ = turn(workspace, people_only)
    assert records[LEARNS].decision == "promote"
    with Workspace.open(workspace) as place:
        report = tell(place, place.ledger.run(run))
    line = certificate_lines(report)[0]
    assert "proposed by Ada, approved by Bob;" in line
    assert "demo" not in line
    assert "demo keys" not in render_page(report)


def test_who_is_asked_may_turn_it_down_and_the_loop_goes_on_without(
    tmp_path: Path, asking: LoopConfig
) -> None:
    workspace = tmp_path / "work"
    flags = signing_by_people(tmp_path, workspace)
    people_only = replace(asking, certificate=replace(DEMO, demo_keys=False))
    with pytest.raises(AwaitsApproval):
        turn(workspace, people_only)
    run, _ = runs_of(workspace)
    proposed = workspace / f"certificates/{run}-round-{LEARNS}/certificate.json"
    turn_down = ["certificate", "object", str(proposed), "--reason", "too few starts", *flags]
    assert main([*turn_down, "--key", str(tmp_path / "keys/ada.key")]) == 1, "not an approver"
    assert main([*turn_down, "--key", str(tmp_path / "keys/bob.key")]) == 0
    records, _ = turn(workspace, people_only)
    assert records[LEARNS].decision == "refuse"
    assert records[LEARNS].reason == "no certificate: Bob objects: too few starts"
    # Whoever signs it after that has signed too late.
    approve = [
        *("certificate", "approve", str(proposed), "--key", str(tmp_path / "keys/bob.key")),
        *("--candidate", str(proposed.parent / "candidate"), *flags),
    ]
    assert main(approve) == 0
    with opened(workspace) as register, pytest.raises(NotCertified, match="Bob objects"):
        certificate_in_force(register, people_only, records[LEARNS].challenger, time.time())


def test_a_certificate_of_another_candidate_does_not_help(
    tmp_path: Path, certified: Path, asking: LoopConfig
) -> None:
    folder = shutil.copytree(certified, tmp_path / "copy")
    run, records = runs_of(folder)
    first = records[0].challenger
    with Workspace.open(folder, exclusive=True) as workspace:
        with pytest.raises(NotCertified, match="Robots are stopped by a directive"):
            roll_back(workspace, run)
        assert workspace.ledger.champion(run) == records[LEARNS].challenger
        with pytest.raises(NotCertified, match="none is registered"):
            certificate_of(workspace, asking, first)


def test_without_keys_nothing_is_trained_in_vain(tmp_path: Path, asking: LoopConfig) -> None:
    people_only = replace(asking, certificate=replace(DEMO, demo_keys=False))
    with pytest.raises(InvalidConfig, match="give the key of the person who proposes it"):
        turn(tmp_path / "none", people_only)
    workspace = tmp_path / "wrong"
    signing_by_people(tmp_path, workspace)
    signing = Signing.of(workspace)
    assert signing is not None
    replace(signing, proposer=tmp_path / "keys/bob.key").keep(workspace)
    with pytest.raises(Untrusted, match="Bob may not propose"):
        turn(workspace, people_only)
    with Workspace.open(workspace) as place:
        assert place.ledger.attempts() == []


def test_a_workspace_keeps_to_its_register_and_demo_keys_to_theirs(
    tmp_path: Path, certified: Path
) -> None:
    folder = shutil.copytree(certified, tmp_path / "copy")
    signing = Signing.of(folder)
    assert signing is not None
    assert make_demo(folder).register == signing.register
    with pytest.raises(InvalidConfig, match="choose another workspace"):
        replace(signing, register=tmp_path / "elsewhere").keep(folder)
    for key in (folder / "demo-site/keys").glob("*.key"):
        assert key.stat().st_mode & 0o077 == 0
    with pytest.raises(InvalidConfig, match="is that person's"):
        replace(signing, is_demo=False).demo_key("approver")
    flags = site(tmp_path)
    foreign = Register.open(tmp_path / "register", _ring(flags))
    with opened(folder) as register, foreign:
        entry = next(register.statements(CERTIFICATE))
        with pytest.raises(Untrusted, match="not on the key ring"):
            foreign.append(entry.signed)


def test_what_is_handed_out_is_what_was_certified(tmp_path: Path, certified: Path) -> None:
    folder = shutil.copytree(certified, tmp_path / "copy")
    run, records = runs_of(folder)
    signing = Signing.of(folder)
    assert signing is not None
    with Workspace.open(folder, exclusive=True) as workspace:
        handed = hand_out(workspace, run, "cell-1")
        deployment = json.loads((handed / "deployment.json").read_bytes())
        assert deployment["identity"]["candidate"] == records[LEARNS].challenger
        assert records[0].challenger in deployment["ancestors"]
        number = register_deployment(workspace, handed, signing.demo_key("operator"))
        with pytest.raises(Untrusted):
            register_deployment(workspace, handed, signing.demo_key("proposer"))
        again = hand_out(workspace, run, "cell-1")
        assert sorted(p.name for p in again.iterdir()) == sorted(p.name for p in handed.iterdir())
        with pytest.raises(InvalidConfig, match="deployment id"):
            hand_out(workspace, run, "../cell-1")
    with opened(folder) as register:
        assert register.entry(number).kind == "deployment/v1"


def test_a_file_that_changes_on_the_way_out_stops_the_deployment(
    tmp_path: Path, certified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(certified, tmp_path / "copy")
    run, _ = runs_of(folder)
    copytree = shutil.copytree

    def meddled(source: Path, target: Path) -> Path:
        copied = copytree(source, target)
        (copied / "more.py").write_text("print('I run too')")
        return copied

    monkeypatch.setattr("loopwright.loop.deployment.shutil.copytree", meddled)
    with Workspace.open(folder, exclusive=True) as workspace:
        with pytest.raises(NotCertified, match="candidate is not what"):
            hand_out(workspace, run, "cell-1")
        assert list((folder / "deployments").iterdir()) == []


def test_a_run_that_asks_for_no_certificate_deploys_nothing(
    tmp_path: Path, config: LoopConfig
) -> None:
    turn(tmp_path, replace(config, rounds=()))
    with Workspace.open(tmp_path, exclusive=True) as workspace:
        run = workspace.ledger.runs()[0].id
        with pytest.raises(NotCertified, match="asks for none"):
            hand_out(workspace, run, "cell-1")
        report = tell(workspace, workspace.ledger.run(run))
    assert certificate_lines(report) == []
    assert any("no certificate" in note for note in report.notes)


def test_every_recipe_says_what_certificate_it_asks_for() -> None:
    with pytest.raises(TypeError, match="certificate"):
        LoopConfig(name="n", scenario="s", genesis=get_recipe("smoke").genesis, rounds=())  # type: ignore[call-arg]
    robots = get_recipe("button-press"), get_recipe("button-press-long")
    assert all(r.certificate is not None and r.certificate.unfiltered is None for r in robots)
    saved = get_recipe("button-press").to_json()
    assert LoopConfig.from_json(json.loads(json.dumps(saved))) == get_recipe("button-press")


def test_page_and_terminal_say_that_demo_keys_are_not_two_people(certified: Path) -> None:
    run, _ = runs_of(certified)
    with Workspace.open(certified) as workspace:
        report = tell(workspace, workspace.ledger.run(run))
    (line,) = certificate_lines(report)
    assert line.startswith("certificate: level D, in force: violations < 5 % filter on (0 of 104)")
    assert "one process signed as both, which is not two people" in line
    page = render_page(report)
    assert 'id="certificate"' in page
    assert "is not the word of two people" in page.replace("\n", " ")


@pytest.mark.slow
def test_kill_9_of_command_and_stages_in_a_campaign(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "loopwright"), "run", "smoke-certified"]
    kills = 0
    while True:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        if kills < 4 and _campaign_begins(tmp_path / "runs", process, seen=kills * 20):
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, said = process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, said
    _, records = runs_of(tmp_path / "runs")
    assert "promote" in [r.decision for r in records]
    logged = looks(tmp_path / "runs")
    assert kills >= 3
    assert len(set(logged)) == len(logged) == 104 + 60
    with opened(tmp_path / "runs") as register:
        assert len(list(register.statements(PLAN))) == 1


def _campaign_begins(workspace: Path, process: subprocess.Popen[str], *, seen: int) -> bool:
    """Wait until more episodes than ``seen`` are logged, or the command has ended."""
    while process.poll() is None:
        if (workspace / "site.json").exists() and len(looks(workspace)) > seen:
            return True
        time.sleep(0.05)
    return False


def _ring(flags: list[str]) -> object:
    from loopwright.safety.keys import KeyRing

    return KeyRing.read(Path(flags[flags.index("--ring") + 1]))


def _said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_the_verb_runs_with_the_key_of_a_person_and_then_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = site(tmp_path)
    run = ["run", "smoke-certified", "--rounds", "0", "--key", "keys/ada.key", *flags]
    assert main(run) == 0, "a first champion needs nobody's signature"
    signing = Signing.of(tmp_path / "runs")
    assert signing is not None
    assert not signing.is_demo
    assert signing.proposer == tmp_path / "keys/ada.key"
    assert SigningKey.read(signing.proposer)
    assert "cannot be deployed" in capsys.readouterr().out
    assert EXIT_WAITING == 3
