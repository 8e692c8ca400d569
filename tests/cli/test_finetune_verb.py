"""The verb from the shell: killed at hard moments, it ends at the same bytes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from loopwright.cli import main
from loopwright.core.policy import Candidate
from tiny_language import make_folder

SETTINGS = ["--rank", "4", "--epochs", "80", "--batch", "2", "--row-tokens", "64"]


@pytest.fixture
def folder(tmp_path):
    make_folder(tmp_path / "base")
    chat = [{"role": "user", "content": "the sky?"}, {"role": "assistant", "content": "blue"}]
    (tmp_path / "data.jsonl").write_text(json.dumps({"messages": chat}) + "\n")
    return tmp_path


def arguments(folder, out: str, *more: str) -> list[str]:
    files = [str(folder / "base"), str(folder / "data.jsonl"), "--out", str(folder / out)]
    return ["finetune", *files, *SETTINGS, *more]


def test_it_says_what_it_made(folder, capsys):
    data = str(folder / "data.jsonl")
    assert main(arguments(folder, "out", "--epochs", "4", "--validation", data, "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["candidate"]
    assert (said["examples"], said["left_out"]) == (1, 0)
    assert said["after"]["loss"] < said["before"]["loss"]
    assert main(arguments(folder, "out")) == 2
    assert "exists already" in capsys.readouterr().err


def test_it_shows_its_metrics_in_tensorboard_beside_the_candidate(folder, capsys):
    pytest.importorskip("tensorboard")
    assert main(arguments(folder, "out", "--epochs", "4", "--mirror", "tensorboard")) == 0
    (events,) = (folder / "out.metrics" / "tensorboard" / "finetune").iterdir()
    assert events.name.startswith("events.out.tfevents")
    assert Candidate.open(folder / "out").digest[:12] in capsys.readouterr().out


@pytest.mark.slow
def test_killed_and_typed_again_it_ends_at_the_same_bytes(folder):
    def start(out: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "loopwright", *arguments(folder, out, "--dropout", "0.1")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    with start("calm") as process:
        assert process.wait() == 0, process.stderr and process.stderr.read()
    moments, kills = random.Random(0), 0
    while kills < 3:
        with start("stormy") as process:
            began = time.monotonic()
            # Not before there is something to lose.
            while not (folder / ".stormy.training").exists() and process.poll() is None:
                time.sleep(0.02)
                assert time.monotonic() - began < 120
            time.sleep(moments.uniform(0.0, 1.0))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            kills += 1
    if not (folder / "stormy").exists():
        with start("stormy") as process:
            assert process.wait() == 0
    assert kills > 0
    manifests = [(folder / name / "candidate.json").read_bytes() for name in ("calm", "stormy")]
    assert manifests[0] == manifests[1]
