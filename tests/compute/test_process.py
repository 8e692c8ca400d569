from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loopwright.compute.execute import InProcessExecutor
from loopwright.compute.process import ProcessExecutor, check_feasible
from loopwright.core.errors import Infeasible, StageCrashed, StageFailed, UnknownName
from loopwright.core.stage import Receipt, Resources, Site, StageResult, StageSpec

STAGES = "compute_stages"


@pytest.fixture(autouse=True)
def _importable_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", here)


def _run(executor, function: str, tmp_path: Path, progress=lambda fraction, message: None, **spec):
    stage = StageSpec(name=function, entry=f"{STAGES}:{function}", **spec)
    return executor.run(
        stage, Site(workspace=tmp_path, scratch=tmp_path / "scratch", progress=progress)
    )


@pytest.mark.parametrize("executor", [InProcessExecutor(), ProcessExecutor()], ids=type)
def test_same_receipt_wherever_it_runs(executor, tmp_path: Path) -> None:
    receipt = _run(executor, "add", tmp_path, params={"a": 2, "b": 3}, seed=7)
    assert receipt.result == StageResult(facts={"sum": 5, "seed": 7})
    assert Receipt.from_json(receipt.to_json()) == receipt


def test_progress_arrives_in_order(tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    _run(ProcessExecutor(), "talk", tmp_path, progress=lambda f, m: heard.append((f, m)))
    assert heard == [(0.25, "step 1"), (0.5, "step 2"), (0.75, "step 3"), (1.0, "step 4")]


def test_an_error_keeps_its_name_and_message(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"UnknownName: unknown thing 'bals'.*mean 'ball'"):
        _run(ProcessExecutor(), "refuse", tmp_path)
    with pytest.raises(UnknownName):
        _run(InProcessExecutor(), "refuse", tmp_path)


def test_a_killed_child_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StageCrashed, match=r"killed by SIGKILL.*\n*.*farewell"):
        _run(ProcessExecutor(), "die", tmp_path)


def test_stop_ends_a_running_stage(tmp_path: Path) -> None:
    executor = ProcessExecutor()
    threading.Timer(0.5, executor.stop).start()
    began_s = time.monotonic()
    with pytest.raises(StageCrashed):
        _run(executor, "sleep", tmp_path)
    assert time.monotonic() - began_s < 20
    with pytest.raises(StageCrashed, match="stopped"):
        _run(executor, "add", tmp_path)


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path;"
        "from loopwright.compute.process import ProcessExecutor;"
        "from loopwright.core.stage import Site, StageSpec;"
        f"spec = StageSpec(name='sleep', entry='{STAGES}:sleep');"
        f"site = Site(workspace=Path({str(tmp_path)!r}), scratch=Path({str(tmp_path / 'x')!r}),"
        " progress=lambda f, m: print('up', flush=True));"
        "ProcessExecutor().run(spec, site,"
        " on_start=lambda pid: print(pid, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        assert parent.stdout.readline().strip() == "up"
        parent.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 20
    while _alive(child_pid):
        assert time.monotonic() < deadline_s, "the orphan is still running"
        time.sleep(0.05)


def test_infeasible_resources_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(Infeasible, match=r"4 mlu \(there are"):
        _run(
            ProcessExecutor(),
            "add",
            tmp_path,
            resources=Resources(accelerator="mlu", accelerators=4),
        )
    assert not (tmp_path / "scratch").exists()
    spec = StageSpec(name="big", entry="x:y", resources=Resources(cpus=64, memory_gb=10))
    with pytest.raises(Infeasible, match=r"64 CPUs \(there are 2\), 10 GB memory"):
        check_feasible(spec, Resources(cpus=2, memory_gb=8))


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="returned NoneType, expected StageResult"):
        _run(InProcessExecutor(), "forget", tmp_path)


def test_key_covers_everything_but_resources() -> None:
    base = StageSpec(name="fit", entry="m:f", params={"steps": 3}, inputs={"data": "ab"}, seed=1)
    same = StageSpec.from_json(base.to_json())
    assert same == base
    assert same.key == base.key
    changed = [
        {"name": "other"},
        {"entry": "m:g"},
        {"params": {"steps": 4}},
        {"inputs": {"data": "ac"}},
        {"seed": 2},
        {"code": "1"},
        {"environment": "2"},
    ]
    keys = {StageSpec.from_json({**base.to_json(), **change}).key for change in changed}
    assert len(keys | {base.key}) == len(changed) + 1
    bigger = {**base.to_json(), "resources": {**base.to_json()["resources"], "cpus": 8}}
    assert StageSpec.from_json(bigger).key == base.key


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_site_is_given_to_the_stage(tmp_path: Path) -> None:
    receipt = _run(ProcessExecutor(), "where", tmp_path)
    assert receipt.result.facts == {"scratch_is_inside": True}
