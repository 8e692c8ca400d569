"""A regression scenario happens again bit by bit, or says why not; a mended filter prevents it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trolley
from trolley import CLAMP_ONLY, Ground, into_the_wall, limits

from loopwright.core.errors import DamagedData, Untrusted
from loopwright.safety.body import Measured
from loopwright.safety.ladder import ALL
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.minimise import RUN_UP_S
from loopwright.safety.occurrence.opening import Scenario, make_scenario, open_occurrence
from loopwright.safety.occurrence.regression import (
    Regression,
    RegressionReport,
    run_regression,
)

TOO_MUCH = Configuration(limits=limits(), rungs=CLAMP_ONLY)


def staged(ground: Ground, request: Any = into_the_wall, **changes: Any) -> Scenario:
    path = ground.fly("flight", request, **changes)
    opened = open_occurrence(path, ground.site, now_s=1.8e9, heads=ground.heads)
    assert opened is not None
    return make_scenario(opened, ground.site)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    ground = Ground(tmp_path_factory.mktemp("site"))
    made = staged(ground)
    ground.register.close()
    return made


def test_it_happens_again_bit_by_bit_and_not_when_mended(scenario: Scenario) -> None:
    report = run_regression(scenario.file, trusted=True)
    assert report == RegressionReport(
        kind="violation",
        happens=True,
        exact=True,
        first_difference=None,
        worst=0.0,
        same_build=True,
        same_filter=True,
        mended="prevented",
        mended_filter=Configuration(limits=limits(), rungs=ALL)
        .make_filter(trolley.make_body())
        .digest,
    )
    assert report.holds


def test_it_is_as_short_as_it_can_be(scenario: Scenario) -> None:
    """Sideways whims do not matter: one request is left, and the run-up to the wall."""
    regression = scenario.regression
    assert len(regression.script) == 1
    assert scenario.shortest.flight_requests > 5
    latest_s = regression.event_after / trolley.RATE_HZ
    assert RUN_UP_S < latest_s < RUN_UP_S + 0.25
    assert scenario.shortest.tells
    assert scenario.shortest.same_as_flight
    assert scenario.file.stat().st_size < 20_000


def test_a_change_that_is_needed_stays(tmp_path: Path) -> None:
    """It waits before the wall, and only goes on when told to."""

    def waits(step: int, measured: Measured) -> object:
        goes = measured.position[0] < 0.42 or step > 160
        return np.array([0.6 if goes else 0.0, 0.1 * (step % 2)])

    script = staged(Ground(tmp_path), waits).regression.script
    assert [segment.request and segment.request[0] for segment in script] == [0.0, 0.6]


def test_a_mended_configuration_that_does_not_mend_is_said(scenario: Scenario) -> None:
    report = run_regression(scenario.file, TOO_MUCH, trusted=True)
    assert report.mended == "still happens"
    assert report.problems == ("it still happens with the mended configuration",)


def test_putting_it_off_is_no_prevention(scenario: Scenario) -> None:
    """A slower clamp reaches the wall a little later."""
    slower = Configuration(limits=limits(speed=(0.5, 1.0)), rungs=CLAMP_ONLY)
    assert run_regression(scenario.file, slower, trusted=True).mended == "still happens"


def altered(scenario: Scenario, change: Callable[[dict[str, Any]], None]) -> Regression:
    data = json.loads(scenario.file.read_bytes())
    change(data)
    return Regression.from_json(data)


def stand_still(data: dict[str, Any]) -> None:
    data["script"] = [{**item, "request": [0.0, 0.0]} for item in data["script"]]
    data["state"] = base64.b64encode(np.zeros(5).tobytes()).decode()


def test_a_scenario_that_happens_no_more_is_reported(scenario: Scenario) -> None:
    report = run_regression(altered(scenario, stand_still), trusted=True)
    assert not report.holds
    (problem,) = report.problems
    assert problem == "it does not happen any more as recorded: the scenario is void"


def test_and_that_the_ladder_has_changed_since(scenario: Scenario) -> None:
    def other_ladder(data: dict[str, Any]) -> None:
        stand_still(data)
        data["filter"] = "0" * 64

    report = run_regression(altered(scenario, other_ladder), trusted=True)
    assert not report.holds
    assert "the ladder's code is another one" in report.problems[0]


def test_a_scenario_that_comes_out_a_little_differently_is_reported(scenario: Scenario) -> None:
    def nudge(data: dict[str, Any]) -> None:
        segment = data["script"][0]
        segment["request"][1] = float(np.nextafter(segment["request"][1], 1.0))

    report = run_regression(altered(scenario, nudge), trusted=True)
    assert report.happens
    assert not report.exact
    assert 0 < report.worst < 1e-12
    assert not report.holds
    assert "on the same build" in report.problems[0]


def test_another_build_may_differ_in_the_last_bits_but_must_still_happen(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trolley, "GAIN_PER_S", 60.0 + 1e-9)
    other = altered(scenario, lambda data: data.update(build="another"))
    report = run_regression(other, trusted=True)
    assert report.happens
    assert not report.exact
    assert not report.same_build
    assert report.holds


@pytest.mark.parametrize(
    "change",
    [
        {"format": "loopwright-regression/9"},
        {"kind": "mishap"},
        {"state": "%"},
        {"measured": "AAA="},
        {"event_after": 1},
        {"configuration": {}},
        {"robot": {"legs": 4}},
    ],
)
def test_what_is_no_scenario_is_refused(scenario: Scenario, change: dict[str, Any]) -> None:
    with pytest.raises(DamagedData, match="this is no"):
        altered(scenario, lambda data: data.update(change))


def test_functions_of_others_are_called_only_for_files_that_are_known(scenario: Scenario) -> None:
    with pytest.raises(Untrusted, match="trolley:make_body"):
        run_regression(scenario.file)


def test_scenarios_of_another_robot_are_refused(scenario: Scenario) -> None:
    other = altered(scenario, lambda data: data.update(robot_name="cart-v1"))
    with pytest.raises(DamagedData, match="of cart-v1, not trolley-v1"):
        run_regression(other, trusted=True)
