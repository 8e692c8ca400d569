"""What a fleet did becomes episodes and regressions, whole or cut short."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from loopwright.core.errors import DamagedData
from loopwright.core.learner import FitJob
from loopwright.core.motion import GaveUp
from loopwright.core.scenario import split_seed
from loopwright.loop.stages import refuse_held_out
from loopwright.recipes.fleet_episodes import Made, make_episodes
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.journal import Journal
from loopwright.robot.skills.tabletop import SKILLS
from loopwright.robot.task import Outcome
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.warehouse.regression import Regression, RegressionScenario, repeat
from loopwright.scenarios.warehouse.world import WarehouseWorld
from loopwright.simulation.warehouse.hands import SimulatedHands
from loopwright.simulation.warehouse.motions import plan_take, take
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.simulation.warehouse.worldlog import WorldLogWriter, new_log, read_world_log
from loopwright.store.doctor.examination import examine
from loopwright.store.reading import read_episode
from loopwright.store.workspace import Workspace
from loopwright.train.linear import learn


class MistakenHands(SimulatedHands):
    """Hands that are told wrongly where things are: somebody moved them since."""

    wrong_m = 0.0

    def where(self, entity: str) -> np.ndarray:
        pose = super().where(entity)
        pose[0] += self.wrong_m
        return pose


class WrittenFleet:
    """An arm that picks, with everything that a fleet writes down, and nothing that it runs."""

    def __init__(self, folder: Path) -> None:
        self.site = FleetSite(folder)
        self.journal = Journal(self.site.journal)
        self.world = Warehouse()
        self.log = WorldLogWriter(new_log(self.site.worlds))
        contracts = tuple(skill.contract.to_json() for skill in SKILLS)
        self.journal.append(
            [happened.RobotJoined(robot="arm-1", epoch=1, parts=("arm",), skills=contracts)]
        )
        self.step(None)

    def step(self, command: np.ndarray | None) -> None:
        self.log.step(self.world, {"arm-1": command})
        self.world.step({"arm-1": command})

    def ask(self, number: int) -> str:
        task, intent = f"t-{number}", f"i-{number}"
        self.journal.append(
            [
                happened.TaskAsked(
                    task=task, trace=f"trace-{number}", instruction="fetch the red one", by="test"
                ),
                happened.IntentIssued(
                    task=task,
                    step="s1",
                    intent=intent,
                    robot="arm-1",
                    epoch=1,
                    skill="pick",
                    values={"object": "red-cube", "surface": "table", "station": "bench"},
                ),
            ]
        )
        return intent

    def pick(self, *, wrong_m: float = 0.0, steps: int = 3000) -> None:
        """Pick the cube from where it is believed to be."""
        hands = MistakenHands(self.world, "arm-1")
        hands.wrong_m = wrong_m
        motion = take(hands, plan_take(hands, "red-cube"))
        try:
            for _, command in zip(range(steps), motion, strict=False):
                self.step(command)
                hands.refresh()
        except GaveUp:
            pass

    def end(self, intent: str, outcome: Outcome) -> None:
        self.journal.append(
            [happened.IntentEnded(intent=intent, outcome=outcome, reason="", claim="finished")]
        )
        for _ in range(60):
            self.step(None)

    def episodes(self) -> list[Made]:
        with Workspace.create(self.site.episodes, exclusive=True) as workspace:
            return list(make_episodes(self.site, workspace))


@pytest.fixture
def fleet(tmp_path: Path) -> WrittenFleet:
    return WrittenFleet(tmp_path / "fleet")


def test_an_attempt_becomes_an_episode_once(fleet: WrittenFleet, tmp_path: Path) -> None:
    intent = fleet.ask(1)
    fleet.pick()
    fleet.end(intent, "succeeded")
    (made,) = fleet.episodes()
    assert (made.observed, made.verified, made.regression) == ("success", "success", None)
    (again,) = fleet.episodes()
    assert (again.episode, again.is_new) == (made.episode, False)
    with Workspace.open(fleet.site.episodes) as workspace:
        episode = read_episode(workspace, made.episode)
        flags = workspace.ledger.standing_verdict(made.episode).flags  # type: ignore[union-attr]
    header = episode.header
    assert (header.scenario, header.kind) == ("warehouse-arm-pick-v1", "attempt")
    assert header.instruction == "pick up the red cube"
    assert flags["trace"] == "trace-1"
    assert header.interface == get_scenario(header.scenario).interface
    assert episode.images["shoulder"].std() > 10, "there is something to be seen"
    assert list(examine(fleet.site.episodes)) == []
    refuse_held_out([episode])
    (tmp_path / "c").mkdir()
    job = FitJob(episodes=[episode], seed=0, out=tmp_path / "c", scratch=tmp_path / "s")
    assert learn({}, job)["steps"] == episode.num_steps, "a learner takes it"


def test_a_failed_pick_becomes_a_scenario_that_begins_there_and_fails_again(
    fleet: WrittenFleet,
) -> None:
    intent = fleet.ask(1)
    fleet.pick(wrong_m=0.07)
    fleet.end(intent, "failed")
    (made,) = fleet.episodes()
    assert (made.observed, made.verified) == ("failure", "failure")
    assert made.regression is not None

    scenario = get_scenario(str(made.regression))
    assert isinstance(scenario, RegressionScenario)
    world = scenario.make_world()
    assert isinstance(world, WarehouseWorld)
    try:
        first = world.reset(split_seed("gate", 0))
        recorded = made.attempt.log.moment_at(made.attempt.begin)
        assert np.array_equal(world.warehouse.moment(), recorded), "it begins exactly there"
        other = world.reset(split_seed("gate", 1))
        assert not np.array_equal(first.images["shoulder"], other.images["shoulder"])
    finally:
        world.close()

    found = repeat(made.regression)
    assert found.exact
    assert found.verdict.outcome == "failure"


def test_an_attempt_that_was_cut_short_is_kept_as_far_as_it_went(fleet: WrittenFleet) -> None:
    fleet.ask(1)
    fleet.pick(steps=200)
    (made,) = fleet.episodes()
    assert made.attempt.censored == "the fleet ended before the attempt did"
    assert (made.verified, made.regression) == ("unknown", None)
    with Workspace.open(fleet.site.episodes) as workspace:
        assert read_episode(workspace, made.episode).header.censored == made.attempt.censored


def test_an_attempt_that_never_moved_is_an_episode_of_standing(fleet: WrittenFleet) -> None:
    intent = fleet.ask(1)
    for _ in range(80):
        fleet.step(None)
    fleet.end(intent, "failed")
    (made,) = fleet.episodes()
    assert made.verified == "failure"
    assert made.regression is not None


def test_a_retry_from_the_same_start_is_no_other_regression(fleet: WrittenFleet) -> None:
    for number in (1, 2):
        intent = fleet.ask(number)
        for _ in range(80):
            fleet.step(None)
        fleet.end(intent, "failed")
    first, second = fleet.episodes()
    assert first.episode != second.episode
    assert first.regression == second.regression
    assert [path.name for path in fleet.site.regressions.glob("*.json")] == [
        first.regression.name if first.regression else ""
    ]


def test_a_changed_regression_is_refused(fleet: WrittenFleet) -> None:
    intent = fleet.ask(1)
    for _ in range(80):
        fleet.step(None)
    fleet.end(intent, "failed")
    (made,) = fleet.episodes()
    assert made.regression is not None
    said = json.loads(made.regression.read_text())
    said["moment"][1] += 1e-9
    made.regression.write_text(json.dumps(said))
    with pytest.raises(DamagedData, match="it was changed"):
        Regression.read(made.regression)


def test_the_log_of_a_regression_is_small_and_whole(fleet: WrittenFleet) -> None:
    intent = fleet.ask(1)
    fleet.pick(wrong_m=0.07)
    fleet.end(intent, "failed")
    (made,) = fleet.episodes()
    assert made.regression is not None
    assert made.regression.stat().st_size < 40_000
    log = read_world_log(made.regression.with_suffix(".world"))
    assert log.end == Regression.read(made.regression).end


def test_only_what_is_new_is_made_and_told_when_nobody_asks_for_all(fleet: WrittenFleet) -> None:
    def new() -> list[str]:
        with Workspace.create(fleet.site.episodes, exclusive=True) as workspace:
            return [made.episode for made in make_episodes(fleet.site, workspace, only_new=True)]

    told: list[str] = []
    for number in (1, 2):
        intent = fleet.ask(number)
        for _ in range(80):
            fleet.step(None)
        fleet.end(intent, "failed")
        (episode,) = new()
        assert new() == []
        told.append(episode)
    everything = fleet.episodes()
    assert [made.episode for made in everything] == told
    assert not any(made.is_new for made in everything)
