"""A scaling study on paper: the figure shows what the numbers say, the tables fit a terminal."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace

import pytest
from rich.console import Console

from loopwright.core.errors import DamagedData
from loopwright.report.scaling import (
    ScalingReport,
    amount,
    loss_by_compute,
    scaling_view,
)
from loopwright.train.scaling.density import density_at_loss
from loopwright.train.scaling.fit import fit
from loopwright.train.scaling.law import Law, ScalingRun
from loopwright.train.scaling.plan import plan
from loopwright.train.scaling.predict import compare, hold_back_largest
from loopwright.train.scaling.regression import FitConfig
from loopwright.train.scaling.summary import summary

LAW = Law(E=0.8, A=60.0, B=900.0, alpha=0.3, beta=0.4)


@pytest.fixture(scope="module")
def data() -> dict:
    runs = [
        ScalingRun(params=n, tokens=d, loss=LAW.loss(n, d) * (1 + 0.002 * (i % 3 - 1)), label="x")
        for i, (n, d) in enumerate((n, d) for n in (1e6, 5e6, 25e6) for d in (2e7, 1e8, 5e8, 2e9))
    ]
    rest, largest = hold_back_largest(runs)
    found = fit(rest, FitConfig(replicates=100))
    return summary(
        "emoji decoder",
        found,
        plans=[plan(found, 1e19), plan(found, 1e20), plan(found, 1e21)],
        held_back=[compare(found, largest)],
        densities=[
            ("ours", density_at_loss(found, params=5e6, loss=1.48, reference_tokens=5e8)),
        ],
    )


@pytest.fixture(scope="module")
def study(data: dict) -> ScalingReport:
    return ScalingReport.from_json(json.loads(json.dumps(data, allow_nan=False)))


def printed(study: ScalingReport, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(scaling_view(study))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_study_survives_a_file(study: ScalingReport) -> None:
    assert ScalingReport.from_json(json.loads(json.dumps(study.to_json()))) == study


def test_data_of_something_else_are_refused(data: dict) -> None:
    with pytest.raises(DamagedData, match="schema version"):
        ScalingReport.from_json({**data, "schema_version": 0})
    with pytest.raises(DamagedData, match="no data of a ScalingReport"):
        ScalingReport.from_json({**data, "sizes": [{"label": 3}]})


def test_the_figure_names_sizes_axes_and_the_plan(study: ScalingReport) -> None:
    drawing = loss_by_compute(study)
    assert drawing is not None
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing)
    assert {"1M", "5M", "25M", "training compute (FLOPs)", "loss (nats a token)"} <= set(texts)
    assert {"best for its compute", "held back", "plan"} <= set(texts)
    assert f"{amount(study.plans[0].params.value)} parameters" in drawing


def test_equal_studies_are_drawn_equal(study: ScalingReport) -> None:
    assert loss_by_compute(study) == loss_by_compute(study)


def test_a_bare_study_is_drawn_too(study: ScalingReport) -> None:
    assert loss_by_compute(replace(study, plans=(), held_back=())) is not None
    assert loss_by_compute(replace(study, sizes=())) is None


def test_the_tables_fit_a_terminal_and_say_the_numbers(study: ScalingReport) -> None:
    lines = printed(study)
    assert "\N{HORIZONTAL ELLIPSIS}" not in lines
    held = study.held_back[0]
    assert f"{held.truth:.4g}" in lines
    assert f"{held.one_run.value:.4g}" in lines
    assert "✓ yes" in lines
    assert amount(study.plans[0].tokens.value) in lines
    assert "the law keeps its form beyond the grid" in " ".join(lines.split())


def test_a_miss_and_a_warning_are_not_hidden(study: ScalingReport) -> None:
    missed = replace(study.held_back[0], is_inside=False)
    lines = printed(replace(study, held_back=(missed,), notes=("E is not identified.",)))
    assert "✕ no" in lines
    assert "! E is not identified." in lines


def test_an_open_interval_is_said(study: ScalingReport) -> None:
    density = study.densities[0]
    opened = replace(density, density=replace(density.density, high=math.inf))
    again = replace(study, densities=(opened,))
    assert "\N{INFINITY}" in printed(again)
    assert ScalingReport.from_json(json.loads(json.dumps(again.to_json()))) == again


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.5, "0.5"),
        (999.9, "1k"),
        (1e6, "1M"),
        (1_340_000, "1.34M"),
        (999_900_000, "1B"),
        (7e10, "70B"),
        (1.4e12, "1.4T"),
        (2.1e18, "2.10e+18"),
        (math.inf, "\N{INFINITY}"),
    ],
)
def test_amounts_are_short(number: float, text: str) -> None:
    assert amount(number) == text
