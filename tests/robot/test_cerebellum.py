"""Skills' bodies at a fixed tick: to their end, cut short, stopped, broken."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from loopwright.core.errors import InvalidConfig
from loopwright.robot.cerebellum.behaviour import (
    again,
    first_of,
    side_by_side,
    still,
    until,
    within,
)
from loopwright.robot.cerebellum.tick import Cerebellum, Stillness, TickingHands
from loopwright.robot.check import check_skill
from loopwright.robot.logic import Fact, Facts
from loopwright.robot.messages import RunSkill
from loopwright.robot.skill import GaveUp, Hands, Motion, SkillError, SkillSet, skill

RATE_HZ = 200.0


class Still:
    """A driver of one coordinate without a hand."""

    size = 1

    def grips(self) -> np.ndarray:
        return np.zeros(1)


class Slider:
    """A port to one coordinate that does what it is told, in step with who tells it."""

    def __init__(self) -> None:
        self.position, self.speed = np.zeros(1), np.zeros(1)
        self.resting, self.why = True, None

    def measured(self) -> tuple[np.ndarray, np.ndarray]:
        return self.position, self.speed

    def send(self, command: np.ndarray) -> None:
        self.resting, self.speed = False, np.asarray(command, float)
        self.position = self.position + self.speed / RATE_HZ

    def rest(self) -> None:
        self.resting, self.speed = True, np.zeros(1)

    def stopped(self) -> str | None:
        return self.why


@skill(ensures=("far(?robot)",), resources=("base",), longest_s=2.0)
def advance(hands: Hands, way_m: float) -> Motion:
    """Advance by a way."""
    goal = hands.position[0] + way_m
    while hands.position[0] < goal:
        yield np.array([1.0])


@skill(ensures=("far(?robot)",), longest_s=2.0)
def pretend(hands: Hands) -> Motion:
    """Do nothing, and call it done."""
    yield None


@skill(ensures=("far(?robot)",), longest_s=2.0)
def break_down(hands: Hands) -> Motion:
    """Fail in the middle."""
    yield np.array([1.0])
    raise GaveUp("the way is blocked")


SKILLS = SkillSet(advance, pretend, break_down)


class Catch:
    """A latch that anybody may release."""

    reason: str | None = None

    def press(self, reason: str) -> None:
        self.reason = reason

    def release(self, releases: str) -> None:
        self.reason = None


def robot() -> tuple[Slider, Cerebellum]:
    port = Slider()
    hands = TickingHands(
        robot="r", rate_hz=RATE_HZ, port=port, driver=Still(), where=lambda _: np.zeros(7)
    )
    cerebellum = Cerebellum(
        hands=hands,
        skills=SKILLS,
        look=tuple,
        latch=Catch(),
        stillness=Stillness(within_s=0.5),
    )
    return port, cerebellum


def order(name: str, **values: Any) -> RunSkill:
    return RunSkill(
        coordinator_epoch=1, robot_epoch=1, intent="i", trace="t", skill=name, values=values,
        longest_s=2.0,
    )  # fmt: skip


def test_a_body_runs_to_its_end_at_its_rate_and_the_robot_rests() -> None:
    port, cerebellum = robot()
    began_s = time.monotonic()
    assert cerebellum.run(order("advance", way_m=0.2), threading.Event()) == ("finished", "")
    assert port.position[0] == pytest.approx(0.2, abs=0.011)
    assert time.monotonic() - began_s > 0.19  # 40 steps at 200 Hz, no faster
    assert port.resting


def test_cancelling_is_heard_at_the_next_tick() -> None:
    port, cerebellum = robot()
    cancelled = threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    assert cerebellum.run(order("advance", way_m=100.0), cancelled)[0] == "cancelled"
    assert port.position[0] < 1.0
    assert port.resting


def test_a_stop_ends_what_runs_and_holds_until_released() -> None:
    port, cerebellum = robot()
    threading.Timer(0.05, cerebellum.stop, ("test",)).start()
    assert cerebellum.run(order("advance", way_m=100.0), threading.Event())[0] == "stopped"
    assert cerebellum.run(order("advance", way_m=0.1), threading.Event())[0] == "stopped"
    cerebellum.release("operator", "")
    assert cerebellum.run(order("advance", way_m=0.01), threading.Event())[0] == "finished"
    port.why = "the brake is latched"
    claim = cerebellum.run(order("advance", way_m=0.1), threading.Event())
    assert claim == ("stopped", "the brake is latched")


def test_a_stop_is_latched_although_the_driver_fails_at_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, cerebellum = robot()

    def fail() -> None:
        raise OSError("the cable is off")

    monkeypatch.setattr(port, "rest", fail)
    with pytest.raises(OSError, match="cable"):
        cerebellum.stop("pressed")
    assert cerebellum.held() == "pressed"


def test_giving_up_says_why() -> None:
    _, cerebellum = robot()
    claim = cerebellum.run(order("break-down"), threading.Event())
    assert claim == ("gave-up", "the way is blocked")


def begin_far_after(way_m: float) -> Any:
    def begin() -> tuple[Cerebellum, Any]:
        port, cerebellum = robot()

        def observe() -> Facts:
            return lambda fact: fact == Fact("far", ("r",)) and bool(port.position[0] >= way_m)

        return cerebellum, observe

    return begin


def test_a_skill_that_keeps_its_contract_passes_the_check() -> None:
    report = check_skill(
        advance, robot="r", values={"way_m": 0.1}, begin=begin_far_after(0.1), runs=2
    )
    assert report.slowest_s < 2.0


def test_a_skill_that_lies_is_found_out() -> None:
    with pytest.raises(SkillError, match="it says it is done, yet not far"):
        check_skill(pretend, robot="r", values={}, begin=begin_far_after(0.1))
    with pytest.raises(SkillError, match="the way is blocked"):
        check_skill(break_down, robot="r", values={}, begin=begin_far_after(0.1))


def test_a_body_that_never_yields_is_no_skill() -> None:
    with pytest.raises(InvalidConfig, match="never yields"):

        @skill(ensures=("far(?robot)",))
        def jump(hands: Hands) -> Motion:  # type: ignore[empty-body]
            """Is gone already."""
            return None  # type: ignore[return-value]


def steps(motion: Motion) -> list[float | None]:
    return [None if c is None else float(c[0]) for c in motion]


def go(count: int, speed: float = 1.0) -> Motion:
    for _ in range(count):
        yield np.array([speed])


def give_up() -> Motion:
    yield np.array([9.0])
    raise GaveUp("no")


def test_behaviours_combine() -> None:
    _, cerebellum = robot()
    hands = cerebellum._hands
    assert steps(first_of(give_up, lambda: go(2))) == [9.0, 1.0, 1.0]
    with pytest.raises(GaveUp, match="no; then no"):
        steps(again(2, give_up))
    with pytest.raises(GaveUp, match="not done within"):
        steps(within(0.02, hands, go(100)))
    assert steps(within(0.02, hands, go(3))) == [1.0] * 3
    counted: list[int] = []
    assert len(steps(until(lambda: counted.append(1) or len(counted) > 5, go(100)))) == 5  # type: ignore[func-returns-value]
    assert steps(side_by_side(go(3, 1.0), go(1, 2.0), still(0.01, hands))) == [3.0, 1.0, 1.0]
