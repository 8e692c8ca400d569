from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from loopwright.core.digest import digest_json
from loopwright.core.scenario import Box
from loopwright.safety.body import BodySpec, RobotEntry
from loopwright.safety.certificate.identity import robot_digest, scenario_digest
from loopwright.scenarios.registry import get_scenario

SPEC = BodySpec(
    robot="arm-v1",
    coordinates=("a", "b"),
    units=("rad", "rad"),
    kinds=("speed", "speed"),
    points=("tool",),
    rate_hz=500.0,
    safe_state="hold-position",
    build="mujoco",
)
ENTRY = RobotEntry(body="arms:body", config={"payload_kg": 1.0})


def test_a_robot_is_what_it_says_and_how_it_is_made() -> None:
    known = robot_digest(SPEC, ENTRY)
    assert known == digest_json({"spec": asdict(SPEC), "entry": asdict(ENTRY)})
    others = [
        (replace(SPEC, robot="arm-v2"), ENTRY),
        (replace(SPEC, safe_state="zero-speed"), ENTRY),
        (replace(SPEC, build="mujoco 2"), ENTRY),
        (SPEC, replace(ENTRY, config={"payload_kg": 2.0})),
        (SPEC, replace(ENTRY, plant="arms:plant")),
    ]
    digests = {robot_digest(spec, entry) for spec, entry in others}
    assert len(digests | {known}) == 6


class Changed:
    """A scenario that says one thing otherwise."""

    def __init__(self, scenario: object, **changes: object) -> None:
        self._scenario, self._changes = scenario, changes

    def __getattr__(self, name: str) -> object:
        return self._changes.get(name, getattr(self._scenario, name))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "another-v1"},
        {"instruction": "do something else"},
        {"max_steps": 3},
        {"evidence": ("x_m",)},
        {"domain": Box(low={"goal_x_m": 0.0}, high={"goal_x_m": 0.1})},
        {"verifier": type("Verifier", (), {"name": "lenient/1"})()},
        {"interface": None},
    ],
)
def test_a_scenario_is_everything_it_says_about_itself(change: dict[str, object]) -> None:
    scenario = get_scenario("point-reach-v1")
    if "interface" in change:
        change = {"interface": replace(scenario.interface, rate_hz=scenario.interface.rate_hz + 1)}
    known = scenario_digest(scenario)
    written = {
        "id": "point-reach-v1",
        "instruction": "go to the red goal",
        "interface": scenario.interface.to_json(),
        "domain": scenario.domain.to_json(),
        "evidence": ["goal_distance_m"],
        "verifier": scenario.verifier.name,
        "max_steps": 20,
    }
    # As plain data: whoever checks a certificate elsewhere writes it so.
    assert known == digest_json(written)
    assert scenario_digest(Changed(scenario)) == known  # type: ignore[arg-type]
    assert scenario_digest(Changed(scenario, **change)) != known  # type: ignore[arg-type]
