"""A grid is trained once per point, however often it is killed."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from known_laws import SIZES, SMALL, TOKENS

from loopwright.core.errors import DamagedData, InvalidConfig, Unidentified, WorkspaceBusy
from loopwright.train.scaling.fit import fit
from loopwright.train.scaling.grid import (
    Grid,
    GridPoint,
    PointResult,
    affordable_grid,
    run_grid,
)
from loopwright.train.scaling.predict import compare
from loopwright.train.scaling.regression import FitConfig

POINTS = tuple(
    GridPoint(label=f"{n / 1e6:.1f}M", params=n, tokens=round(d)) for n in SIZES for d in TOKENS
)
GRID = Grid(points=POINTS, held_back=GridPoint(label="big", params=1e8, tokens=2_000_000_000))
STUDY = {"recipe": "known law"}


class Trainer:
    """Trains in no time, and counts."""

    def __init__(self) -> None:
        self.trained: list[GridPoint] = []

    def __call__(self, point: GridPoint) -> PointResult:
        self.trained.append(point)
        loss = SMALL.loss(point.params, point.tokens)
        return PointResult(loss=loss, flops=6 * point.params * point.tokens)


def test_a_grid_is_trained_fitted_and_checked_on_the_run_held_back(tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    result = run_grid(
        GRID,
        Trainer(),
        results=tmp_path / "deep" / "grid.jsonl",
        study=STUDY,
        progress=lambda fraction, message: told.append((fraction, message)),
    )
    assert [(r.params, r.tokens) for r in result.runs] == [(p.params, p.tokens) for p in POINTS]
    assert result.held_back is not None
    held = compare(fit(result.runs, FitConfig(replicates=100)), result.held_back)
    assert abs(held.relative_error) < 1e-4
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    first, second = Trainer(), Trainer()
    results = tmp_path / "grid.jsonl"
    once = run_grid(GRID, first, results=results, study=STUDY)
    assert run_grid(GRID, second, results=results, study=STUDY) == once
    assert (len(first.trained), len(second.trained)) == (13, 0)


@pytest.mark.parametrize("study", [{"recipe": "another"}, {}])
def test_results_of_another_study_are_not_taken_for_ours(
    tmp_path: Path, study: dict[str, str]
) -> None:
    trainer = Trainer()
    results = tmp_path / "grid.jsonl"
    run_grid(GRID, Trainer(), results=results, study=study)
    run_grid(GRID, trainer, results=results, study=STUDY)
    assert len(trainer.trained) == 13


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_scaling_grid import GRID, STUDY, Trainer, run_grid

train = Trainer()
def run_point(point):
    if len(train.trained) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return train(point)
run_grid(GRID, run_point, results=Path({results!r}), study=STUDY)
"""


@pytest.mark.parametrize("after", [0, 7])
def test_a_grid_goes_on_after_kill_9(tmp_path: Path, after: int) -> None:
    results = tmp_path / "grid.jsonl"
    code = KILLED.format(tests=str(Path(__file__).parent), after=after, results=str(results))
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    trainer = Trainer()
    result = run_grid(GRID, trainer, results=results, study=STUDY)
    assert len(trainer.trained) == 13 - after
    assert result == run_grid(GRID, Trainer(), results=tmp_path / "whole.jsonl", study=STUDY)


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_a_torn_line_is_trained_again(tmp_path: Path, kept: int) -> None:
    results = tmp_path / "grid.jsonl"
    whole = run_grid(GRID, Trainer(), results=results, study=STUDY)
    lines = results.read_bytes().splitlines(keepends=True)
    results.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
    trainer = Trainer()
    assert run_grid(GRID, trainer, results=results, study=STUDY) == whole
    assert len(trainer.trained) == 1
    assert results.read_bytes() == b"".join(lines)


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    results = tmp_path / "notes.txt"
    results.write_text("dear diary\n")
    with pytest.raises(DamagedData, match="no JSON"):
        run_grid(GRID, Trainer(), results=results, study=STUDY)
    assert results.read_text() == "dear diary\n"


def test_two_processes_do_not_train_one_grid(tmp_path: Path) -> None:
    results = tmp_path / "grid.jsonl"

    def run_point(point: GridPoint) -> PointResult:
        with pytest.raises(WorkspaceBusy, match="another process"):
            run_grid(GRID, Trainer(), results=results, study=STUDY)
        return Trainer()(point)

    run_grid(GRID, run_point, results=results, study=STUDY)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_run_that_diverged_is_named_and_left_out(tmp_path: Path, loss: float) -> None:
    def run_point(point: GridPoint) -> PointResult:
        return PointResult(loss=loss) if point == POINTS[4] else Trainer()(point)

    for _ in range(2):  # the second time from the file
        result = run_grid(GRID, run_point, results=tmp_path / "grid.jsonl", study=STUDY)
        assert result.diverged == (POINTS[4],)
        assert len(result.runs) == len(POINTS) - 1


class TestDesign:
    def test_a_budget_pays_for_the_cheapest_runs_and_holds_the_dearest_back(self) -> None:
        sizes = {"s": 1e6, "m": 4e6, "l": 16e6, "xl": 64e6}
        tokens = [10**7, 4 * 10**7, 16 * 10**7]
        whole = affordable_grid(sizes, tokens, budget_flops=1e20)
        assert len(whole.every) == 12
        assert whole.held_back == GridPoint(label="xl", params=64e6, tokens=16 * 10**7)
        half = affordable_grid(sizes, tokens, budget_flops=whole.flops() / 2)
        assert half.flops() <= whole.flops() / 2
        assert set(half.every) < set(whole.every)

    def test_a_budget_that_tells_no_law_is_refused_before_it_is_spent(self) -> None:
        sizes = {"s": 1e6, "m": 4e6, "l": 16e6}
        with pytest.raises(
            Unidentified, match=r"pay for 2 of 9 runs .* whole grid costs 2.65e\+16"
        ):
            affordable_grid(sizes, [10**7, 4 * 10**7, 16 * 10**7], budget_flops=1e15)

    def test_a_grid_of_one_size_is_refused_before_it_costs(self) -> None:
        with pytest.raises(Unidentified, match="1 of the 3 different sizes"):
            Grid(points=tuple(replace(p, params=1e6) for p in POINTS))

    def test_a_point_occurs_once(self) -> None:
        with pytest.raises(InvalidConfig, match="different seeds"):
            Grid(points=(*POINTS, POINTS[0]))
        assert len(Grid(points=(*POINTS, replace(POINTS[0], seed=1))).every) == 13
