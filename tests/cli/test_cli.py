from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.cli import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, VERBS, main
from loopwright.core.interface import CameraSpec, Interface, VectorSpec
from loopwright.core.policy import Candidate
from loopwright.core.scenario import split_seed
from loopwright.core.stage import Cost, Receipt, StageResult, StageSpec
from loopwright.loop.gate import GateConfig, PairedTrial, judge
from loopwright.recipes.scorings import STAGE_NAME
from loopwright.report.wording import DASH
from loopwright.scenarios.registry import get_scenario
from loopwright.store.workspace import Workspace

COMMAND = str(Path(sys.executable).parent / "loopwright")
STEER = """
import numpy as np

def act(observation):
    x, y, goal_x, goal_y = observation.proprio
    return np.array([goal_x - x, goal_y - y], dtype=np.float32) * 6
"""


def loopwright(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the smoke recipe has run to the end of its second round."""
    folder = tmp_path_factory.mktemp("turned")
    done = loopwright("run", "smoke", "--rounds", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Promoted in round 2; one challenger refused, planted on purpose." in done.stdout
    return folder


def test_the_overview_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in VERBS:
        assert f"  {verb} " in shown


@pytest.mark.parametrize("words", ["--help", "list", "evaluate --help"])
def test_a_reader_that_goes_early_is_no_failure_worth_a_traceback(words: str) -> None:
    read, write = os.pipe()
    os.close(read)  # nobody reads, from the first byte on
    try:
        done = subprocess.run(
            [COMMAND, *words.split()], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(write)
    assert done.stderr == ""
    assert done.returncode == EXIT_FAILED


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"loopwright {verb}" in shown
    assert VERBS[verb].split(";")[0][:30] in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "unknown verb 'rnu'; did you mean 'run'"),
        (["run", "buton-press"], "unknown recipe 'buton-press'; did you mean 'button-press'"),
        (["run", "no/recipe.py"], "recipe file 'no/recipe.py' does not exist"),
        (["run", "smoke", "--rounds", "9"], "recipe 'smoke' plans 0 to 3"),
        (["run", "smoke", "--seed", "-1"], "expected 0 to 49"),
        (["run", "smoke", "--parallel", "0"], "parallel is 0; expected at least 1"),
        (["evaluate", "nowhere", "--scenario", "point-reach-v1"], "nowhere does not exist"),
    ],
)
def test_what_is_typed_wrong_is_explained_and_leaves_nothing_behind(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == EXIT_USAGE
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_scenario_is_suggested(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "steer.py").write_text(STEER)
    policy = str(tmp_path / "steer.py")
    assert main(["evaluate", policy, "--scenario", "button-pres-v1"]) == EXIT_USAGE
    assert "did you mean 'button-press-v1'" in capsys.readouterr().err


def test_a_folder_that_is_no_workspace_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("do not touch")
    assert main(["run", "smoke", "--workspace", str(tmp_path)]) == EXIT_FAILED
    assert "WorkspaceError" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_can_be_read_in_every_way(turned: Path) -> None:
    status = json.loads(loopwright("status", "--json", cwd=turned).stdout)
    assert [(r["recipe"], r["rounds"], r["finished"]) for r in status] == [
        ("smoke", "3 of 4", False)
    ]
    kinds = [d["kind"] for d in json.loads(loopwright("history", "--json", cwd=turned).stdout)]
    assert kinds == ["genesis", "refusal", "promotion"]
    assert "refused" in loopwright("explain", "1", cwd=turned).stdout
    page = Path(loopwright("report", "--out", turned / "page.html", cwd=turned).stdout.strip())
    assert page.read_text().startswith("<!doctype html>")


def test_history_shows_the_scores_of_its_own_candidates(turned: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(turned, tmp_path / "copy")
    with Workspace.open(folder / "runs") as workspace:
        ledger = workspace.ledger
        champion = ledger.champion(ledger.runs()[-1].id)
        assert champion is not None
        for model, value in ((champion, 0.25), ("0ther" * 12, 0.75)):
            spec = StageSpec(
                name=STAGE_NAME, entry="any:any", params={"list": "few"}, inputs={"model": model}
            )
            score = {"value": value, "low": 0.0, "high": 1.0, "unit": "share"}
            known = {"learned": [], "missing": []}
            facts = {"task": "naming", "scores": {"named": score}, "contamination": known}
            receipt = Receipt(
                key=spec.key, result=StageResult(facts=facts), cost=Cost(cpu_s=0.0, wall_s=0.0)
            )
            ledger.commit(ledger.begin_attempt(spec, owner="test"), receipt)
    history = loopwright("history", cwd=folder).stdout
    assert f"named 25.0 (0.0{DASH}100.0) %" in history
    assert "named 75.0" not in history
    assert "named 75.0" in loopwright("status", cwd=folder).stdout
    last = json.loads(loopwright("history", "--json", cwd=folder).stdout)[-1]
    assert (last["kind"], last["candidate"]) == ("score", champion)


def test_rollback_is_seen_in_history(turned: Path, tmp_path: Path) -> None:

    folder = shutil.copytree(turned, tmp_path / "copy")
    assert "(was " in loopwright("rollback", "--reason", "slipped", cwd=folder).stdout
    last = json.loads(loopwright("history", "--json", cwd=folder).stdout)[-1]
    assert (last["kind"], last["reason"]) == ("rollback", "slipped")
    again = loopwright("rollback", cwd=folder)
    assert again.returncode != 0, "going back once more went forward again"
    forward = loopwright("rollback", "--to", last["champion_before"][:12], cwd=folder)
    assert forward.returncode == 0, forward.stderr


def told_to_end(command: subprocess.Popen[str], patience_s: float = 240.0) -> str:
    """Return what a command says after Ctrl-C; pressed again where nobody was there to hear it."""
    until_s = time.monotonic() + patience_s
    while True:
        try:
            return command.communicate(timeout=15.0)[1]
        except subprocess.TimeoutExpired:
            if time.monotonic() > until_s:
                command.kill()
                raise
            command.send_signal(signal.SIGINT)


def test_a_second_command_on_a_workspace_is_told_who_has_it(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [COMMAND, "run", "smoke"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert first.stderr is not None
    assert "smoke on point-reach-v1" in first.stderr.readline()
    first.send_signal(signal.SIGSTOP)  # however slow the machine, it does not end before the rest
    second = loopwright("run", "smoke", cwd=tmp_path)
    assert second.returncode == EXIT_FAILED
    assert "WorkspaceBusy" in second.stderr
    assert str(first.pid) in second.stderr
    status = loopwright("status", "--json", cwd=tmp_path)
    assert json.loads(status.stdout)[0]["finished"] is False, "looking needs no lock"
    first.send_signal(signal.SIGINT)
    first.send_signal(signal.SIGCONT)
    said = told_to_end(first)
    assert first.returncode == EXIT_INTERRUPTED
    assert "run the same command again to go on" in said
    assert "Traceback" not in said


def test_after_ctrl_c_the_same_command_goes_on(tmp_path: Path) -> None:
    for patience_s in (2.0, 4.0):
        command = subprocess.Popen(
            [COMMAND, "run", "smoke", "--rounds", "1"], cwd=tmp_path, stderr=subprocess.DEVNULL
        )
        time.sleep(patience_s)
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=60) in (0, EXIT_INTERRUPTED)
    done = loopwright("run", "smoke", "--rounds", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_any_policy_can_be_judged(tmp_path: Path) -> None:
    (tmp_path / "steer.py").write_text(STEER)
    judged = loopwright(
        "evaluate",
        "steer.py",
        "--scenario",
        "point-reach-v1",
        "--episodes",
        "5",
        "--json",
        cwd=tmp_path,
    )
    result = json.loads(judged.stdout)
    assert (result["successes"], result["trials"]) == (5, 5)
    assert result["low"] == pytest.approx(0.4782, abs=1e-4)  # 0.025 ** (1 / 5)


def test_two_policies_meet_at_the_gate_of_the_loop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "steer.py").write_text(STEER)
    (tmp_path / "still.py").write_text("def act(observation):\n    return [0.0, 0.0]\n")
    steer, still = str(tmp_path / "steer.py"), str(tmp_path / "still.py")
    Workspace.create(tmp_path / "runs").close()
    where = ["--scenario", "point-reach-v1", "--workspace", str(tmp_path / "runs")]

    assert main(["evaluate", steer, "--against", still, *where, "--json"]) == 0
    better = json.loads(capsys.readouterr().out)
    trials = [
        PairedTrial(seed=split_seed("gate", i), champion=one, challenger=other)
        for i, (one, other) in enumerate(better["pairs"])
    ]
    decision = judge(GateConfig(), 1, trials)
    assert better["gate"] == json.loads(json.dumps(decision.to_json())), "the loop's own rules"
    assert (better["decision"], better["used_before"]) == ("promote", 0)
    assert len(trials) < GateConfig().max_pairs, "it stops as soon as it knows"
    with closing(Workspace.open(tmp_path / "runs")) as workspace:
        assert set(workspace.ledger.seed_uses("gate", "point-reach-v1")) == {
            trial.seed for trial in trials
        }

    assert main(["evaluate", still, "--against", steer, *where]) == 0
    said = capsys.readouterr()
    assert "point-reach-v1: refuse; not" in said.out
    assert f"champion {steer}: 10/10 successes, 1.00" in said.out
    assert "10 of these gate seeds had been used before" in said.err
    assert main(["evaluate", still, "--against", still, *where]) == EXIT_USAGE
    assert "the same candidate" in capsys.readouterr().err


def test_a_look_at_sealed_seeds_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "steer.py").write_text(STEER)
    folder = tmp_path / "runs"
    command = ["evaluate", str(tmp_path / "steer.py"), "--scenario", "point-reach-v1"]
    command += ["--split", "sealed", "--episodes", "3", "--workspace", str(folder)]
    assert main(command) == 0
    assert "not counted" in capsys.readouterr().err
    assert not folder.exists()
    Workspace.create(folder).close()
    assert main(command) == 0
    with closing(Workspace.open(folder)) as workspace:
        uses = workspace.ledger.seed_uses("sealed", "point-reach-v1")
    assert uses == {split_seed("sealed", i): 1 for i in range(3)}


def test_a_candidate_of_another_interface_is_refused_with_the_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interface = get_scenario("point-reach-v1").interface
    other = Interface(
        cameras=(CameraSpec(name="top", height_px=32, width_px=32),),
        proprio=interface.proprio,
        action=VectorSpec(names=("x",), units=("m",), low=(-1.0,), high=(1.0,)),
        rate_hz=10.0,
    )
    folder = tmp_path / "candidate"
    folder.mkdir()
    (folder / "weights.json").write_text("[[0, 0, 0, 0, 0]]")
    Candidate.seal(folder, family="linear", interface=other, config={})
    assert main(["evaluate", str(folder), "--scenario", "point-reach-v1"]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert "cameras is" in said
    assert "action is" in said
    assert "rate_hz is" not in said


def test_a_damaged_or_unsafe_candidate_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "candidate"
    folder.mkdir()
    (folder / "weights.json").write_text("[[0]]")
    interface = get_scenario("point-reach-v1").interface
    Candidate.seal(folder, family="linear", interface=interface, config={})
    (folder / "weights.json").write_text("[[1]]")
    arguments = ["evaluate", str(folder), "--scenario", "point-reach-v1"]
    assert main(arguments) == EXIT_FAILED
    assert "DamagedData" in capsys.readouterr().err
    (folder / "extra.pkl").write_bytes(b"\x80\x04N.")
    assert main(arguments) == EXIT_FAILED
    assert "UnsafeCandidate" in capsys.readouterr().err


def test_a_scaffold_works_at_once(tmp_path: Path) -> None:
    made = loopwright("new", "touch-dot", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "touch-dot" / "scenario.py").exists()
    again = loopwright("new", "touch-dot", cwd=tmp_path)
    assert again.returncode == EXIT_USAGE
    assert "exists already" in again.stderr


def test_a_full_disk_stops_the_command_and_loses_nothing(tmp_path: Path) -> None:
    # A limit on the size of files stands for the full disk: writing fails in the same way.
    limited = subprocess.run(
        ["bash", "-c", f"ulimit -f 40; exec {COMMAND} run smoke --rounds 1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert limited.returncode == EXIT_FAILED
    assert "Traceback" not in limited.stderr
    assert "StorageError" in limited.stderr
    done = loopwright("run", "smoke", "--rounds", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_loop_turns_on_a_scaffold(tmp_path: Path) -> None:
    assert loopwright("new", "touch-dot", cwd=tmp_path).returncode == 0
    done = loopwright("run", "touch-dot/recipe.py", "--rounds", "0", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["scenario"] == "touch-dot-v1"
    assert report["rounds"][0]["decision"] == "genesis"
