"""From a staged violation of the simulated arm to a scenario in the suite, within a minute."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from loopwright.cli import main
from loopwright.core.errors import InvalidConfig
from loopwright.recipes.drill import Cause, stage
from loopwright.safety.keys import KeyRing
from loopwright.safety.occurrence.recheck import read_suite, run_suite
from loopwright.safety.register import Register

PARTS = ["flight", "opened", "frozen", "replayed", "scenario", "checked"]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("cause", ["no-envelope", "heavy-load"])
def test_every_part_of_a_drill_holds(tmp_path: Path, cause: Cause) -> None:
    folder, begin_s = tmp_path / "drill", time.process_time()
    steps = list(stage(folder, cause=cause))
    assert [step.name for step in steps] == PARTS
    assert all(step.holds for step in steps)
    assert time.process_time() - begin_s < 60
    ring = KeyRing.read(folder / "keys/ring.json")
    with Register.open(folder / "register", ring) as register:
        suite = read_suite(folder / "suite", register)
    assert suite.problems == ()
    ((_, report),) = run_suite(suite)
    assert not isinstance(report, str)
    assert report.exact
    assert report.mended == "prevented"


def test_a_drill_never_mixes_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "register").mkdir()
    with pytest.raises(InvalidConfig, match="a folder of its own"):
        next(stage(tmp_path))


@pytest.mark.slow
@pytest.mark.alone
def test_the_verbs_lead_from_a_drill_to_a_closed_occurrence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    place = ("--register", "drill/register", "--ring", "drill/keys/ring.json", "--memory", "memory")
    inspector = ("--key", "drill/keys/investigator.key")

    def run(*words: str) -> tuple[int, str]:
        code = main(["occurrence", *words])
        return code, capsys.readouterr().out

    assert run("stage", "drill")[0] == 0
    assert "1999" in run("list", *place)[1]
    kept = ("--evidence", "drill/evidence", "--suite", "drill/suite")
    recorder = ("--key", "drill/keys/recorder.key", "--heads", "drill/second-place")
    assert "opened before" in run("open", "drill/flight", *recorder, *kept, *place)[1]
    assert run("investigate", "2", "--text", "staged", "--harm", "none", *inspector, *place)[0] == 0
    assert run("close", "2", "--text", "x", *inspector, *place)[0] != 0
    code, _ = run("close", "2", "--text", "staged", "--scenario", "3", *inspector, *place)
    assert code == 0
    assert "closed" in run("show", "2", "--evidence", "drill/evidence", *place)[1]
    exported = json.loads(run("export", "2", *place)[1])
    assert exported["loopwright"]["outcome"]["regression"]
    assert run("recheck", "--suite", "drill/suite", *place)[0] == 0
    next(Path("drill/suite").iterdir()).unlink()
    code, said = run("recheck", "--suite", "drill/suite", *place)
    assert code == 1
    assert "is missing or was altered" in said
    frozen = max(Path("drill/evidence").iterdir(), key=lambda path: path.stat().st_size)
    frozen.unlink()
    code, said = run("show", "2", "--evidence", "drill/evidence", *place)
    assert code == 1
    assert "flight is missing" in said
