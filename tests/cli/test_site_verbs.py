from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loopwright.cli import main
from loopwright.core.digest import digest_json
from loopwright.safety.directive.deployment import Deployment
from loopwright.safety.directive.watch import DirectiveWatch, WatchConfig
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey

Say = Callable[..., str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    people: list[tuple[str, Role]] = [
        ("Ada", "authority"),
        ("Otto", "operator"),
        ("Tower-1", "tower"),
        ("Pia", "proposer"),
    ]
    holders: list[Holder] = []
    Path("keys").mkdir()
    for name, role in people:
        key = SigningKey.new()
        key.write(Path("keys") / f"{name.lower()}.key")
        holders.append(Holder(person=name, public=key.public, roles=frozenset({role})))
    KeyRing(holders).write(Path("keys/ring.json"))
    assert main(["register", "new", "--key", "keys/ada.key", "--memory", "memory"]) == 0
    deployment = {
        "deployment": "cell-1",
        "robot": "arm7-v1",
        "scenario": "reach-v1",
        "identity": {"candidate": digest_json("candidate")},
        "ancestors": [digest_json("parent")],
        "certificate": "",
    }
    Path("cell-1.json").write_text(json.dumps(deployment))
    return tmp_path


@pytest.fixture
def say(site: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    def run(*words: str, expect: int = 0) -> str:
        capsys.readouterr()
        code = main([*words, "--memory", "memory"])
        captured = capsys.readouterr()
        assert code == expect, captured.err
        return captured.out + captured.err

    return run


def test_from_a_deployment_to_its_release(say: Say) -> None:
    say("register", "deployment", "cell-1.json", "--key", "keys/otto.key")
    issued = say(
        *("directive", "issue", "ground", "--reason", "spring breaks", "--key", "keys/ada.key"),
        *("--lineage", digest_json("parent"), "--closing-action", "replace the spring"),
    )
    assert "directive 1" in issued
    assert "cell-1" in issued
    assert "spring breaks" in say("directive", "list")
    assert "grounded" in say("who", "cell-1")
    log = Path("log.txt")
    log.write_text("done")
    release = ("directive", "release", "1", "--key", "keys/ada.key", "--evidence")
    assert "neither" in say(*release, "f" * 64, expect=2)
    say("register", "evidence", "spring replaced", "--file", "log.txt", "--key", "keys/otto.key")
    assert "over for all" in say(*release, "3")
    assert "no directive" in say("directive", "list")
    told = json.loads(say("who", "cell-1", "--json"))
    assert [deed["verb"] for deed in told["deeds"]] == ["deployed", "grounded", "released"]
    assert "4 entries, all verified" in say("register", "show")
    assert "spring replaced" in say("register", "show", "3")


def test_an_inspection_is_over_for_whom_it_was_done(say: Say) -> None:
    say("register", "deployment", "cell-1.json", "--key", "keys/otto.key")
    say(
        *("directive", "issue", "inspect", "--reason", "bolts", "--key", "keys/ada.key"),
        *("--robot", "arm7-v1", "--closing-action", "torque them", "--comply-by", "2026-01-01"),
    )
    assert "overdue" in say("who", "cell-1")
    say("register", "evidence", "torqued", "--key", "keys/otto.key")
    close = ("directive", "close", "1", "--deployment", "cell-1", "--evidence", "3", "--key")
    assert "operator" in say(*close, "keys/ada.key", expect=1)
    assert "over for it" in say(*close, "keys/otto.key")
    assert "complied with" in say("who", "cell-1")


def test_an_alternative_holds_until_its_end(say: Say) -> None:
    say("register", "deployment", "cell-1.json", "--key", "keys/otto.key")
    say(
        *("directive", "issue", "ground", "--reason", "spring", "--key", "keys/ada.key"),
        *("--robot", "arm7-v1"),
    )
    approve = ("directive", "alternative", "1", "--means", "at half speed", "--key")
    limits = ("--limits", '{"point_speed_m_s": 0.1}')
    assert "authority" in say(*approve, "keys/otto.key", "--until", "2999-01-01", expect=1)
    assert "JSON" in say(
        *approve, "keys/ada.key", "--until", "2999-01-01", "--limits", "x", expect=2
    )
    say(*approve, "keys/ada.key", "--until", "2026-01-01", *limits)
    assert "grounded" in say("who", "cell-1")
    told = say(*approve, "keys/ada.key", "--until", "2999-01-01", *limits)
    assert "until 2999-01-01 00:00:00, instead of directive 1, for all" in told
    assert "alternative means: at half speed" in say("who", "cell-1")


def test_what_was_typed_wrong_is_said(say: Say) -> None:
    issue = ("directive", "issue", "ground", "--reason", "x", "--key", "keys/ada.key")
    assert "every deployment" in say(*issue, expect=2)
    say("directive", "issue", "restrict", "--reason", "x", "--robot", "a", expect=2)
    assert "authority" in say(*issue[:-1], "keys/otto.key", "--robot", "arm7-v1", expect=1)
    assert "cell-9" in say("who", "cell-9", expect=2)


def test_assurance_ends_red_or_green(say: Say) -> None:
    Path("case.toml").write_text(
        'root = "G1"\n[goal.G1]\ntext = "It holds"\nsupported_by = ["E1"]\n'
        '[solution.E1]\ntext = "Measured"\nevidence = ["EVIDENCE"]\n'
        'indicators = [{ metric = "directives-in-force", at_most = 0 }]\n'
    )
    assert "not registered" in say("assurance", "case.toml", expect=1)
    digest = say("register", "evidence", "measured", "--key", "keys/pia.key").split()[-1]
    Path("case.toml").write_text(Path("case.toml").read_text().replace("EVIDENCE", digest))
    assert "everything holds" in say("assurance", "case.toml")
    say(
        *("directive", "issue", "ground", "--reason", "x", "--key", "keys/ada.key"),
        *("--robot", "arm7-v1"),
    )
    assert "G1" in say("assurance", "case.toml", expect=1)


def test_a_tower_renews_leases_until_it_is_ended(say: Say, site: Path) -> None:
    say("register", "deployment", "cell-1.json", "--key", "keys/otto.key")
    tower = subprocess.Popen(
        [sys.executable, "-m", "loopwright", "tower", "--key", "keys/tower-1.key"],
        env={**os.environ, "HOME": str(site)},
    )
    deployment = Deployment.from_json(json.loads(Path("cell-1.json").read_text()))
    watch = DirectiveWatch(
        site / "register", KeyRing.read(site / "keys" / "ring.json"), deployment, WatchConfig()
    )
    try:
        end_s = time.monotonic() + 30
        while not watch.poll().may_move and time.monotonic() < end_s:
            time.sleep(0.05)
        assert watch.poll().may_move
    finally:
        tower.terminate()
        assert tower.wait(20) == 0
        watch.close()
