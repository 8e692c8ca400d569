"""A candidate as a skill: it moves like any other, and not at all unless it was cleared."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopwright.core.errors import InvalidConfig, NotCertified, UnknownName
from loopwright.core.interface import Interface, Observation, VectorSpec
from loopwright.models.linear.policy import save
from loopwright.robot.cerebellum.tick import Cerebellum, TickingHands
from loopwright.robot.logic import conditions
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.skill import Hands, Parameter, SkillContract, SkillSet, skill
from loopwright.robot.skills.learned import Learned, learned_skill
from loopwright.robot.skills.plugins import with_plugins
from loopwright.safety.certificate.tree import digest_every_file

RATE_HZ = 200.0
CONTRACT = SkillContract(
    name="reach",
    summary="Move to a place by what was learned.",
    parameters=(Parameter(name="goal_m", kind="number"),),
    ensures=conditions("reached(?robot)"),
    resources=("arm",),
    longest_s=2.0,
)


class Rail:
    """One coordinate that does what it is told, and counts its commands."""

    def __init__(self) -> None:
        self.position, self.speed, self.commands = np.zeros(1), np.zeros(1), 0

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        return self.position, self.speed

    def send(self, command: np.ndarray) -> None:
        self.commands += 1
        self.speed = np.asarray(command, float)
        self.position = self.position + self.speed / RATE_HZ

    def rest(self) -> None:
        self.speed = np.zeros(1)

    def stopped(self) -> str | None:
        return None


class Still:
    size = 1

    def grips(self) -> np.ndarray:
        return np.zeros(1)


class NoLatch:
    reason = None

    def press(self, reason: str) -> None: ...

    def release(self, releases: str) -> None: ...


def vector(name: str, unit: str, low: float, high: float, extra: str = "") -> VectorSpec:
    names = (name, extra) if extra else (name,)
    count = len(names)
    return VectorSpec(names=names, units=(unit,) * count, low=(low,) * count, high=(high,) * count)


def interface(rate_hz: float = 50.0) -> Interface:
    return Interface(
        cameras=(),
        proprio=vector("x", "m", -1.0, 1.0, extra="goal"),
        action=vector("v", "m/s", -1.0, 1.0),
        rate_hz=rate_hz,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a candidate that goes to its goal: v = 20 (goal - x)."""
    made = tmp_path / "candidate"
    made.mkdir()
    save(made, np.array([[-20.0, 20.0, 0.0]]), interface(), {})
    return made


def see(hands: Hands, values: Mapping[str, Any]) -> Observation:
    proprio = np.array([hands.position[0], values["goal_m"]], np.float32)
    return Observation(images={}, proprio=proprio)


def learned(folder: Path, **changes: Any) -> Learned:
    certified = digest_every_file(folder)

    def clear(found: Path) -> None:
        if digest_every_file(found) != certified:
            raise NotCertified("candidate is not what was tested")

    given: dict[str, Any] = {
        "folder": folder,
        "clear": clear,
        "see": see,
        "command": lambda hands, action: action.astype(float),
        "is_over": lambda hands, values: abs(hands.position[0] - values["goal_m"]) < 0.005,
        **changes,
    }
    return Learned(**given)


def run(rail: Rail, made: Learned) -> tuple[Claim, str]:
    hands = TickingHands(
        robot="r", rate_hz=RATE_HZ, port=rail, driver=Still(), where=lambda _: np.zeros(7)
    )
    skills = SkillSet(learned_skill(CONTRACT, made))
    cerebellum = Cerebellum(hands=hands, skills=skills, look=tuple, latch=NoLatch())
    order = RunSkill(
        coordinator_epoch=1, robot_epoch=1, intent="i", trace="t", skill="reach",
        values={"goal_m": 0.2}, longest_s=2.0,
    )  # fmt: skip
    return cerebellum.run(order, threading.Event())


def test_a_candidate_moves_the_robot_at_the_rate_it_was_made_for(folder: Path) -> None:
    rail = Rail()
    assert run(rail, learned(folder)) == ("finished", "")
    assert rail.position[0] == pytest.approx(0.2, abs=0.006)
    assert rail.commands % 4 == 0, "each action holds for four control steps"


def test_what_is_not_what_was_cleared_moves_nothing(folder: Path) -> None:
    rail, made = Rail(), learned(folder)
    assert run(rail, made)[0] == "finished"
    sent = rail.commands
    rail.position = np.zeros(1)
    (folder / "weights.json").write_text("[[20.0, -20.0, 0.0]]")
    claim, reason = run(rail, made)
    assert (claim, rail.commands) == ("gave-up", sent)
    assert "not what was tested" in reason


def test_a_rate_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    made = tmp_path / "slow"
    made.mkdir()
    save(made, np.zeros((1, 3)), interface(rate_hz=30.0), {})
    rail = Rail()
    claim, reason = run(rail, learned(made))
    assert (claim, rail.commands) == ("crashed", 0)
    assert "30 Hz, which does not divide the robot's 200" in reason


def test_a_policy_that_sees_nonsense_stops(folder: Path) -> None:
    rail = Rail()
    blind = Observation(images={}, proprio=np.array([np.nan, 0.2], np.float32))
    claim, reason = run(rail, learned(folder, see=lambda hands, values: blind))
    assert (claim, rail.commands) == ("crashed", 0)
    assert "not finite" in reason


@skill(ensures=("polished(?robot)",), resources=("arm",))
def own(hands: Hands) -> Any:
    """Do what the robot can do anyway."""
    yield None


PLUG_IN = """
from loopwright.robot.skill import Hands, Motion, skill

@skill(ensures=("polished(?robot)",), resources=("arm",))
def polish(hands: Hands) -> Motion:
    yield None

@skill(ensures=("far(?robot)",), resources=("base",))
def roam(hands: Hands) -> Motion:
    yield None

def give(robot, parts):
    return {answer}
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    name = f"plug_{abs(hash(answer))}"
    (folder / f"{name}.py").write_text(PLUG_IN.replace("{answer}", answer))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[loopwright.skills]\npolishing = {name}:give\n")
    monkeypatch.syspath_prepend(folder)


def test_an_installed_package_brings_skills_that_a_robot_has_the_parts_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [s.contract.name for s in with_plugins(SkillSet(own), "r", frozenset({"arm"}))] == [
        "own"
    ]
    install(tmp_path, monkeypatch, "[polish, roam]")
    found = with_plugins(SkillSet(own), "r", frozenset({"arm"}))
    assert [s.contract.name for s in found] == ["own", "polish"]
    with pytest.raises(UnknownName):
        found["roam"]


@pytest.mark.parametrize("answer", ["[3]", "1 / 0", "None"])
def test_a_broken_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    install(tmp_path, monkeypatch, answer)
    with pytest.raises(InvalidConfig, match="the skills 'polishing'"):
        with_plugins(SkillSet(own), "r", frozenset({"arm"}))
