"""The public check: sound scenarios pass, every broken toy is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from loopwright.core.episode import Verdict
from loopwright.core.errors import ContractError
from loopwright.core.interface import Observation
from loopwright.core.scenario import World, WorldStep
from loopwright.scenarios.check import check_scenario
from loopwright.scenarios.point.scenario import PointReach
from loopwright.scenarios.registry import get_scenario, scenario_names


@pytest.mark.parametrize("name", ["point-reach-v1", "button-press-v1", "door-open-v1", "push-v1"])
def test_built_in_scenarios_keep_their_contract(name):
    report = check_scenario(get_scenario(name))
    assert report.ok, str(report)
    assert report.kinds == ("demo", "play", "video")
    report.require()


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in scenario_names() if not n.startswith("emoji")])
def test_every_built_in_scenario_keeps_its_contract(name):
    report = check_scenario(get_scenario(name))
    assert report.ok, str(report)


class Deaf(PointReach):
    """Asks for something else at every seed, but its world goes on saying the same."""

    def instruction_at(self, seed: int) -> str:
        return f"go to goal {seed}"


def test_a_world_that_says_another_instruction_is_found():
    report = check_scenario(Deaf())
    assert {finding.rule for finding in report.findings} == {"instructions"}
    assert "go to goal 0" in str(report)
    assert "go to the red goal" in str(report)


class Broken(PointReach):
    """A point scenario whose world's answers are spoiled on their way out."""

    def __init__(
        self,
        *,
        on_reset: Callable[[Observation], Observation] = lambda observation: observation,
        on_step: Callable[[WorldStep], WorldStep] = lambda step: step,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self.on_reset, self.on_step, self.on_close = on_reset, on_step, on_close

    def make_world(self, *, body: str = "robot", image_px: int | None = None) -> World:
        world: Any = super().make_world(body=body, image_px=image_px)
        reset, step = world.reset, world.step
        world.reset = lambda seed: self.on_reset(reset(seed))
        world.step = lambda action: self.on_step(step(action))
        world.close = self.on_close
        return world


def spoil_proprio(spoil: Callable[[np.ndarray], np.ndarray]) -> Callable[[WorldStep], WorldStep]:
    def on_step(step: WorldStep) -> WorldStep:
        spoiled = replace(step.observation, proprio=spoil(step.observation.proprio))
        return replace(step, observation=spoiled)

    return on_step


def dreamy(observation: Observation) -> Observation:
    noise = np.random.default_rng().normal(size=observation.proprio.shape)
    return replace(observation, proprio=(observation.proprio + noise).astype(np.float32))


class CloseOnce:
    def __init__(self) -> None:
        self.closed = False

    def __call__(self) -> None:
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True


def shared_image() -> Callable[[Any], Any]:
    buffer = np.zeros((16, 16, 3), np.uint8)

    def spoil(answer):
        observation = answer if isinstance(answer, Observation) else answer.observation
        buffer[:] = observation.images["top"]
        shared = replace(observation, images={"top": buffer})
        return shared if isinstance(answer, Observation) else replace(answer, observation=shared)

    return spoil


BROKEN_WORLDS = {
    "NaN": ("steps", "not finite", Broken(on_step=spoil_proprio(lambda p: p * np.nan))),
    "wrong shape": ("steps", r"float32 \(2,\)", Broken(on_step=spoil_proprio(lambda p: p[:2]))),
    "wrong type": (
        "steps",
        "float64",
        Broken(on_step=spoil_proprio(lambda p: p.astype(np.float64))),
    ),
    "evidence of NaN": (
        "steps",
        "evidence is not finite",
        Broken(on_step=lambda s: replace(s, evidence=s.evidence * np.nan)),
    ),
    "evidence of another shape": (
        "steps",
        r"evidence is float64 \(2,\)",
        Broken(on_step=lambda s: replace(s, evidence=np.zeros(2))),
    ),
    "applied out of range": (
        "steps",
        "outside the range",
        Broken(on_step=lambda s: replace(s, applied=s.applied + 2)),
    ),
    "no WorldStep": ("steps", "returned a tuple", Broken(on_step=lambda s: (s,))),  # type: ignore
    "random reset": ("repeatable reset", "other proprioception", Broken(on_reset=dreamy)),
    "random step": (
        "repeatable replay",
        "different evidence",
        Broken(on_step=lambda s: replace(s, evidence=np.random.default_rng().random(1))),
    ),
    "one start for all": (
        "seeds differ",
        "look the same",
        Broken(
            on_reset=lambda o: replace(
                o, images={"top": o.images["top"] * 0}, proprio=o.proprio * 0
            )
        ),
    ),
    "clock that stands": (
        "steps",
        "time_s",
        Broken(on_step=lambda s: replace(s, observation=replace(s.observation, time_s=0.0))),
    ),
    "closes once": ("close", "already closed", Broken(on_close=CloseOnce())),
    "raises": ("observations", "raised ZeroDivisionError", Broken(on_reset=lambda o: 1 / 0)),  # type: ignore
}


@pytest.mark.parametrize("case", BROKEN_WORLDS)
def test_a_broken_world_is_named(case):
    rule, message, scenario = BROKEN_WORLDS[case]
    report = check_scenario(scenario)
    assert rule in {finding.rule for finding in report.findings}, str(report)
    with pytest.raises(ContractError, match=message):
        report.require()


def test_evidence_that_is_missing_after_a_while_is_named_as_what_it_is():
    late_s = 4.5 / PointReach().interface.rate_hz

    def forget(step: WorldStep) -> WorldStep:
        kept = step.observation.time_s < late_s
        return step if kept else replace(step, evidence=step.evidence * np.nan)

    report = check_scenario(Broken(on_step=forget))
    assert {finding.rule for finding in report.findings} == {"finite evidence"}, str(report)
    assert "seed 0: evidence is not finite at step 4: {'goal_distance_m': nan}" in str(report)


def test_an_image_that_is_overwritten_is_named():
    spoil = shared_image()
    report = check_scenario(Broken(on_reset=spoil, on_step=spoil))
    assert any("overwrote the image" in finding.message for finding in report.findings)


class Judged(PointReach):
    """A point scenario with another verifier."""

    def __init__(self, spoil: Callable[[Verdict], Any]) -> None:
        super().__init__()
        honest = self.verifier

        class Verifier:
            name = "spoiled/1"

            def __call__(self, header, evidence):
                return spoil(honest(header, evidence))

        self.verifier = Verifier()  # type: ignore


def test_a_verifier_that_raises_is_named_with_its_episode():
    report = check_scenario(Judged(lambda verdict: 1 / 0))
    (finding,) = report.findings
    assert finding.rule == "verdicts"
    assert "spoiled/1" in finding.message
    assert "ZeroDivisionError" in finding.message


@pytest.mark.parametrize(
    ("message", "spoil"),
    [
        ("returned a str", lambda v: "success"),
        ("gave the score 3", lambda v: replace(v, score=3.0)),
        ("verdict on episode 'another'", lambda v: replace(v, episode="another")),
        ("outcome is 'maybe'", lambda v: replace(v, outcome="maybe")),
        (
            "differs from call to call",
            lambda v: replace(v, reason=str(np.random.default_rng().random())),
        ),
        ("expected 'unknown'", lambda v: replace(v, outcome="success")),
    ],
)
def test_a_verifier_out_of_contract_is_named(message, spoil):
    report = check_scenario(Judged(spoil))
    assert any(message in finding.message for finding in report.findings), str(report)


def test_what_is_no_scenario_is_told_what_it_lacks():
    report = check_scenario(object())  # type: ignore
    (finding,) = report.findings
    assert finding.rule == "members"
    assert "make_world" in finding.message


def test_a_start_outside_the_domain_is_named():
    class Outside(PointReach):
        def start(self, seed):
            return {"goal_x_m": 5.0, "goal_y_m": 0.0}

    messages = [f.message for f in check_scenario(Outside()).findings]
    assert any("outside the domain" in message for message in messages)
    assert any("every seed starts at" in message for message in messages)
