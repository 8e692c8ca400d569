"""An agent whose driver, skills and ears fail: the robot stops, is held, and the truth is told."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from toy_robots import SKILLS, ToyBrain, ToyMemory, ToyRunner, ToyWorld

from loopwright.core.errors import StorageError
from loopwright.robot import messages as say
from loopwright.robot.agent import agent as agent_module
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import LocalBus
from loopwright.robot.coordinator.coordinator import SILENCE_S, Coordinator
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.journal.journal import Journal


@dataclass
class BadRunner(ToyRunner):
    """A driver and skills that fail in ways that nobody foresaw."""

    stop_raises: list[BaseException] = field(default_factory=list)
    """What the next calls of stop raise, one each."""
    held_raises: bool = False
    ends: threading.Event = field(default_factory=threading.Event)
    """What a skill that blocks waits for; it looks at nothing else."""

    def run(self, order: say.RunSkill, cancelled: threading.Event) -> tuple[say.Claim, str]:
        if self.mood == "exits":
            sys.exit("the skill's own parser is displeased \ud800")
        if self.mood == "blocks":
            self.orders.append(order.intent)
            self.ends.wait()
            return "finished", ""
        return super().run(order, cancelled)

    def stop(self, reason: str) -> None:
        if self.stop_raises:
            raise self.stop_raises.pop(0)
        super().stop(reason)

    def held(self) -> str | None:
        if self.held_raises:
            raise OSError("serial port hiccup")
        return super().held()


class Hall:
    """A coordinator and robots on a bus in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bus, self.world = folder, LocalBus(), ToyWorld()
        self.reports: list[say.Message] = []
        self.bus.subscribe(say.REPORTS, self.reports.append)
        self.agents: dict[str, Agent] = {}
        self.runners: dict[str, BadRunner] = {}
        self.coordinator = Coordinator(
            journal=Journal(folder / "journal.db"),
            memory=ToyMemory(),
            brain=ToyBrain(),
            bus=self.bus,
            rules=Rules(patience_s=0.3, grace_s=0.5),
        )
        self.coordinator.start()

    def add(self, robot: str, **runner: object) -> BadRunner:
        self.runners[robot] = BadRunner(robot, self.world, **runner)  # type: ignore[arg-type]
        agent = self.agents[robot] = Agent(
            robot=robot,
            parts=frozenset({"arm", "base"}),
            skills=SKILLS,
            runner=self.runners[robot],
            log=IntentLog(self.folder / f"{robot}.log"),
            bus=self.bus,
        )
        agent.start()
        until(lambda: self.is_alive(robot))
        return self.runners[robot]

    def is_alive(self, robot: str) -> bool:
        return self.coordinator.look_at(lambda s: robot in s.robots and s.robots[robot].alive)

    def why_held(self, robot: str) -> str:
        return self.coordinator.look_at(lambda s: s.held.get(robot, ""))

    def ended(self) -> list[say.Ended]:
        return [m for m in list(self.reports) if isinstance(m, say.Ended)]

    def close(self) -> None:
        for runner in self.runners.values():
            runner.ends.set()
        for agent in self.agents.values():
            agent.close()
        self.coordinator.close()
        self.bus.close()


def until(true: Callable[[], object], within_s: float = 10.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.01)


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


@pytest.mark.parametrize("error", [OSError("serial port hiccup"), SystemExit("bye")])
def test_a_stop_that_the_driver_fails_at_holds_the_robot_and_is_tried_again(
    hall: Hall, error: BaseException
) -> None:
    runner = hall.add("r1", lasts_s=60.0)
    task = hall.coordinator.ask("ring north", by="test")
    until(lambda: runner.orders)
    runner.stop_raises = [error] * 3
    hall.coordinator.stop(None, by="me")
    until(hall.ended)
    assert hall.ended()[0].claim == "stopped"
    assert hall.ended()[0].lasted_s < 10.0
    until(lambda: hall.why_held("r1") == "emergency stop by me, which its driver failed to latch")
    until(lambda: runner.latched)
    assert runner.stop_raises == []
    until(lambda: hall.why_held("r1") == "stopped")
    hall.coordinator.release(None, by="me", signature="")
    until(lambda: not hall.why_held("r1"))
    assert hall.is_alive("r1")
    hall.coordinator.cancel(task, by="test")


def test_a_stop_that_only_could_not_be_written_down_is_not_pressed_again(hall: Hall) -> None:
    runner = hall.add("r1")
    pressed: list[str] = []

    def stop(reason: str) -> None:
        pressed.append(reason)
        runner.latched = True
        raise StorageError("the disk is full")

    runner.stop = stop  # type: ignore[method-assign]
    hall.coordinator.stop("r1", by="me")
    until(lambda: hall.why_held("r1") == "stopped")
    time.sleep(3 * agent_module.PULSE_S)
    assert len(pressed) == 1, "another stop would need another release"


def test_a_driver_that_cannot_tell_whether_it_may_move_does_not(hall: Hall) -> None:
    runner = hall.add("r1")
    runner.held_raises = True
    until(lambda: "cannot be told (OSError)" in hall.why_held("r1"))
    assert hall.is_alive("r1")
    runner.held_raises = False
    until(lambda: not hall.why_held("r1"))


def test_a_skill_that_exits_has_crashed(hall: Hall) -> None:
    hall.add("r1", mood="exits")
    task = hall.coordinator.wait(hall.coordinator.ask("ring north", by="t"), timeout_s=10.0)
    assert task.outcome == "failed"
    assert {i.claim for i in task.intents} == {"crashed"}
    assert "the skill's own parser is displeased ?" in task.reason


def test_a_skill_that_does_not_stop_is_told_of_and_its_robot_held(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "STOPS_WITHIN_S", 0.5)
    runner = hall.add("r1", mood="blocks")
    task = hall.coordinator.ask("ring north", by="test")
    until(lambda: runner.orders)
    hall.add("r2")
    ended = hall.coordinator.wait(task, timeout_s=10.0)
    assert ended.outcome == "succeeded", "by the other robot"
    stuck, *others = ended.intents
    assert (stuck.robot, stuck.outcome, stuck.claim) == ("r1", "failed", "timed-out")
    assert "longer than 2 s; ring does not stop; r1 is held until it does" in stuck.reason
    assert {i.robot for i in others} == {"r2"}
    assert hall.is_alive("r1")
    assert "does not stop" in hall.why_held("r1")
    assert len(runner.orders) == 1
    runner.ends.set()
    until(lambda: not hall.why_held("r1"))
    assert [e.intent for e in hall.ended()].count(stuck.id) == 1, "the first word stands"
    runner.mood = "honest"
    hall.agents["r2"].close()
    until(lambda: not hall.is_alive("r2"))
    again = hall.coordinator.wait(hall.coordinator.ask("ring south", by="t"), timeout_s=10.0)
    assert (again.outcome, again.intents[0].robot) == ("succeeded", "r1")


def test_a_task_whose_skill_does_not_stop_can_be_cancelled(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "STOPS_WITHIN_S", 0.3)
    runner = hall.add("r1", mood="blocks")
    task = hall.coordinator.ask("ring north", by="test")
    until(lambda: runner.orders)
    hall.coordinator.cancel(task, by="test")
    ended = hall.coordinator.wait(task, timeout_s=10.0)
    assert (ended.status, ended.cancelled) == ("ended", True)
    assert "r1 is held" in ended.intents[0].reason


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("topic", [say.ALL_ROBOTS, say.orders_to("r1")])
def test_a_robot_that_hears_no_longer_stops_and_falls_silent(hall: Hall, topic: str) -> None:
    runner = hall.add("r1", lasts_s=60.0)
    hall.coordinator.ask("ring north", by="test")
    until(lambda: runner.orders)

    def release(by: str, signature: str) -> None:
        sys.exit("a driver that ends the thread it is called in")

    runner.release = release  # type: ignore[method-assign]
    hall.bus.publish(topic, say.Release(by="me", signature=""))
    until(lambda: hall.agents["r1"].is_deaf)
    until(hall.ended)
    assert hall.ended()[0].reason == "the agent no longer hears what it must"
    until(lambda: not hall.is_alive("r1"), within_s=SILENCE_S + 5.0)
    time.sleep(3 * agent_module.PULSE_S)
    assert not hall.is_alive("r1"), "it does not report for work again"
