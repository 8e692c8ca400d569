"""The harness writes what it measured, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness import Benchmark, Measurement, cpu_seconds, meets
from loopwright.core.errors import InvalidConfig


def run(folder: Path, *measurements: Measurement) -> dict:
    with Benchmark("speed", "How fast it is", seeds=(3, 4), results=folder) as bench:
        for measurement in bench.track(measurements, "measuring"):
            bench.add(measurement)
        bench.note("a sentence")
    return json.loads((folder / "speed.json").read_text())


def test_the_result_file_says_what_was_measured_and_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = run(
        tmp_path / "results",
        Measurement(
            metric="error",
            value=np.float32(0.25),  # type: ignore[arg-type]
            unit="share",
            interval=(0.1, 0.4),
            n=40,
            compared_with="naive 0.64",
            target="<= 0.05",
        ),
        Measurement(metric="latency", value=12345.6, unit="ms CPU", target=">= 10"),
        Measurement(metric="plain", value=1, unit="share"),
    )
    first = written["measurements"][0]
    assert first == {
        "metric": "error",
        "value": 0.25,
        "unit": "share",
        "interval": [0.1, 0.4],
        "n": 40,
        "compared_with": "naive 0.64",
        "target": "<= 0.05",
        "holds": False,
    }
    assert [m["holds"] for m in written["measurements"]] == [False, True, None]
    assert written["seeds"] == [3, 4]
    assert written["notes"] == ["a sentence"]
    assert written["machine"]["cores"] >= 1
    assert written["machine"]["processor"]
    assert written["machine"]["memory_gib"] > 0.1
    assert len(written["load_average"]["at_start"]) == 3
    assert set(written["versions"]) >= {"python", "numpy", "loopwright"}
    assert written["cpu_s"] >= 0
    assert len(written["code"]) == 64
    printed = capsys.readouterr()
    assert "12,346 ms CPU" in printed.out
    assert "1 of 2 targets hold" in printed.out
    assert "measuring: 3 done" in printed.err
    assert "measuring" not in printed.out


@pytest.mark.parametrize(("text", "quick"), [("", False), ("0", False), ("1", True)])
def test_quick_comes_from_the_environment_and_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, quick: bool
) -> None:
    monkeypatch.setenv("QUICK", text)
    assert run(tmp_path)["quick"] is quick


def test_a_benchmark_that_fails_leaves_the_old_results_alone(tmp_path: Path) -> None:
    run(tmp_path, Measurement(metric="old", value=1, unit="share"))
    before = (tmp_path / "speed.json").read_text()
    with pytest.raises(ZeroDivisionError), Benchmark("speed", "again", results=tmp_path) as bench:
        bench.add(Measurement(metric="new", value=1 / len(bench.notes), unit="share"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        run(tmp_path, Measurement(metric="new", value=float("nan"), unit="share"))
    assert (tmp_path / "speed.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]


def test_an_answer_that_was_given_is_kept() -> None:
    # The upper bound decides here, not the value.
    assert (
        Measurement(metric="m", value=0.04, unit="", target="<= 0.05", holds=False).holds is False
    )


def test_targets_are_comparisons() -> None:
    assert meets(1, "<= 1")
    assert not meets(1, "< 1")
    assert meets(2, "> 1")
    assert not meets(0, ">= 1")
    for target in ("0.05", "about 3", "<= many"):
        with pytest.raises(InvalidConfig, match="target"):
            meets(1, target)


def test_cpu_seconds_count_work() -> None:
    began = cpu_seconds()
    sum(i * i for i in range(300_000))
    assert cpu_seconds() > began
