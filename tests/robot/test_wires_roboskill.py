"""Skill files of RoboOS as skills: started unchanged, called, cut short, crashed, judged."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_robots import ToyMemory, ToyWorld

from loopwright.core.errors import InvalidConfig
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.journal.fold import TaskState
from loopwright.robot.journal.journal import Journal
from loopwright.robot.knowledge import NoPlan, Problem
from loopwright.robot.logic import conditions
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import SkillError
from loopwright.robot.task import Step, TaskGraph

pytest.importorskip("mcp")

from loopwright.robot.wires.roboskill import (
    Promise,
    SkillFile,
    SkillFileDied,
    SkillFileRunner,
)

FILE = Path(__file__).with_name("wires_skill_file.py")
DRIVE = Promise(ensures=("at(?robot, ?target)",), resources=("base",), kinds={"target": "place"})


@pytest.fixture(scope="module")
def runner() -> Iterator[SkillFileRunner]:
    runner = SkillFileRunner(SkillFile(path=FILE, promises={"navigate_to_target": DRIVE}))
    yield runner
    runner.close()


def order(skill: str, **values: Any) -> RunSkill:
    return RunSkill(
        coordinator_epoch=1,
        robot_epoch=1,
        intent="i-1",
        trace="t",
        skill=skill,
        values=values,
        longest_s=60.0,
    )


def run(runner: SkillFileRunner, skill: str, **values: Any) -> tuple[Claim, str]:
    return runner.run(order(skill, **values), threading.Event())


def test_tools_become_contracts_that_promise_nothing_by_themselves(
    runner: SkillFileRunner,
) -> None:
    contracts = {c.name: c for c in runner.skills.contracts}
    assert set(contracts) == {
        "navigate-to-target",
        "put-down",
        "break-down",
        "dream",
        "block",
        "die",
        "process",
    }
    put = contracts["put-down"]
    assert [(p.name, p.kind) for p in put.parameters] == [
        ("place", "text"),
        ("object", "text"),
        ("height", "number"),
    ]
    assert put.ensures == ()
    assert put.summary == "Put something down."
    drive = contracts["navigate-to-target"]
    assert drive.ensures == conditions("at(?robot, ?target)")
    assert [(p.name, p.kind) for p in drive.parameters] == [("target", "place")]


def test_tools_are_called_with_what_the_order_says(runner: SkillFileRunner) -> None:
    assert run(runner, "navigate-to-target", target="door") == ("finished", "Arrived at door.")
    claim, said = run(runner, "put-down", place="table", object="cup", height=4.0)
    assert claim == "finished"
    assert "cup at table, 5" in said
    claim, said = run(runner, "put-down", place="table", object="", height=4.0)
    assert "None at table" in said


def test_an_error_of_a_tool_is_read(runner: SkillFileRunner) -> None:
    claim, said = run(runner, "break-down", code=101.0)
    assert claim == "gave-up"
    assert "motor fault E101" in said


@pytest.mark.parametrize("skill", ["dream", "block"])
def test_a_cancelled_tool_ends_with_its_process_and_the_next_call_works(
    runner: SkillFileRunner, skill: str
) -> None:
    _, before = run(runner, "process")
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    began_s = time.monotonic()
    claim, _ = runner.run(order(skill, seconds=60.0), cancelled)
    assert claim == "cancelled"
    assert time.monotonic() - began_s < 5.0
    gone(int(before))
    claim, after = run(runner, "process")
    assert claim == "finished"
    assert after != before


def gone(pid: int) -> None:
    until_s = time.monotonic() + 5.0
    while Path(f"/proc/{pid}").exists():
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state == "Z":
            return  # dead, and about to be collected
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_a_process_that_dies_is_a_crash_and_the_next_call_works(runner: SkillFileRunner) -> None:
    claim, reason = run(runner, "die")
    assert claim == "crashed"
    assert "wires_skill_file.py" in reason
    assert run(runner, "navigate-to-target", target="door")[0] == "finished"


def test_a_stop_ends_what_runs_and_holds_until_it_is_released() -> None:
    def check(by: str, signature: str) -> None:
        if signature != "right":
            raise SkillError("no")

    runner = SkillFileRunner(SkillFile(path=FILE), check_release=check)
    try:
        threading.Timer(0.2, runner.stop, ("by ann",)).start()
        claim, reason = run(runner, "block", seconds=60.0)
        assert (claim, reason) == ("stopped", "by ann")
        assert run(runner, "navigate-to-target", target="door") == ("stopped", "by ann")
        with pytest.raises(SkillError):
            runner.release("ann", "wrong")
        assert run(runner, "navigate-to-target", target="door")[0] == "stopped"
        runner.release("ann", "right")
        assert run(runner, "navigate-to-target", target="door")[0] == "finished"
    finally:
        runner.close()
        runner.close()


def test_a_file_that_does_not_serve_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "skill.py"
    broken.write_text("import a_camera_that_nobody_has\n")
    with pytest.raises(SkillFileDied, match="a_camera_that_nobody_has"):
        SkillFileRunner(SkillFile(path=broken))
    with pytest.raises(InvalidConfig, match="no skill file"):
        SkillFile(path=tmp_path / "none.py")
    with pytest.raises(InvalidConfig, match="has no tools"):
        SkillFileRunner(SkillFile(path=FILE, promises={"fly": DRIVE}))


def test_secrets_of_this_process_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPWRIGHT_TOKEN", "secret")
    spy = tmp_path / "skill.py"
    spy.write_text(
        "import os\nfrom mcp.server.fastmcp import FastMCP\nmcp = FastMCP('r')\n"
        "@mcp.tool()\ndef tell() -> str:\n    return str(sorted(os.environ))\n"
        "mcp.run()\n"
    )
    runner = SkillFileRunner(SkillFile(path=spy, environment={"ARM": "1"}))
    try:
        _, said = run(runner, "tell")
    finally:
        runner.close()
    assert "'ARM'" in said
    assert "LOOPWRIGHT_TOKEN" not in said
    assert "LOOPWRIGHT_TOKEN" in os.environ


class OneStep:
    """Plans one step: ``"SKILL VALUE"``."""

    name = "one-step"

    def plan(self, problem: Problem) -> TaskGraph:
        if problem.reason:
            raise NoPlan("once is enough")
        (robot,) = problem.robots.values()
        skill, value = problem.instruction.split()
        contract = robot.skills[skill]
        values = {
            p.name: float(value) if p.kind == "number" else value for p in contract.parameters
        }
        bound = contract.bound("r1", values)
        return TaskGraph(
            steps=(Step(id="s", skill=skill, values=values, robot="r1"),), goal=bound.ensures
        )


@pytest.mark.parametrize(
    ("instruction", "truth", "outcome"),
    [
        ("navigate-to-target door", "at(r1, door)", "succeeded"),
        ("navigate-to-target door", "at(r1, bench)", "failed"),
        ("dream 0", "at(r1, door)", "unknown"),
        ("break-down 7", "at(r1, door)", "failed"),
    ],
)
def test_only_the_world_makes_a_success_whatever_the_file_says(
    tmp_path: Path, runner: SkillFileRunner, instruction: str, truth: str, outcome: str
) -> None:
    world = ToyWorld()
    world.apply("", "", conditions(truth))

    def look() -> tuple[Sighting, ...]:
        return world.sightings("r1")

    task = do(tmp_path, runner, look, instruction)
    assert task.outcome == outcome
    assert task.intents[0].outcome == outcome


def do(
    folder: Path,
    runner: SkillFileRunner,
    look: Callable[[], tuple[Sighting, ...]],
    instruction: str,
) -> TaskState:
    bus = LocalBus()
    runner._look = look
    coordinator = Coordinator(
        journal=Journal(folder / "journal.db"),
        memory=ToyMemory(),
        brain=OneStep(),
        bus=bus,
        rules=Rules(patience_s=0.3, grace_s=0.5, attempts=1, plans=1),
    )
    agent = Agent(
        robot="r1",
        parts=frozenset({"base"}),
        skills=runner.skills,
        runner=runner,
        log=IntentLog(folder / "r1.log"),
        bus=bus,
    )
    coordinator.start()
    agent.start()
    try:
        until_s = time.monotonic() + 10.0
        while not coordinator.look_at(lambda s: s.robots):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        return coordinator.wait(coordinator.ask(instruction, by="test"), timeout_s=20.0)
    finally:
        agent.close()
        coordinator.close()
        bus.close()
