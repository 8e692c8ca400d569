"""From what a fleet did to what a loop learns from: episodes of its attempts, and regressions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loopwright.core.digest import digest_bytes, digest_json
from loopwright.core.episode import Annotation, Episode, EpisodeHeader, Outcome, Verdict
from loopwright.core.scenario import SPLIT_SIZE, split_seed
from loopwright.robot.fleet.attempts import Attempt, read_attempts, requested_in
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.journal.fold import IntentState
from loopwright.scenarios.sources import judge
from loopwright.scenarios.warehouse.interface import CAMERA, HOLD
from loopwright.scenarios.warehouse.recorded import Rows, in_rows, rows_of
from loopwright.scenarios.warehouse.regression import Failure, write_regression
from loopwright.scenarios.warehouse.scenario import WarehouseScenario
from loopwright.scenarios.warehouse.task import Goal, task_of
from loopwright.simulation.warehouse.camera import ShoulderCamera
from loopwright.simulation.warehouse.model import coordinates_of
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.store.recording import write_episode
from loopwright.store.workspace import Workspace

WITNESS = "fleet-observation/1"
"""Who says what the robots and cameras saw after the attempt; the simulator's state outranks it."""
AUTHOR = "fleet"
MARK = "fleet-mark.json"
"""File in the workspace: how far the fleet's journal was read."""
_OUTCOMES: dict[str, Outcome] = {"succeeded": "success", "failed": "failure"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """An attempt of the fleet that is an episode now."""

    episode: str
    scenario: str
    attempt: Attempt
    observed: Outcome
    """What was seen after the attempt."""
    verified: Outcome
    """What the simulator's state says."""
    regression: Path | None
    """The scenario that begins where it began, if it failed; retries share one."""
    is_new: bool


def make_episodes(
    site: FleetSite, workspace: Workspace, *, only_new: bool = False
) -> Iterator[Made]:
    """Make an episode of every attempt of the fleet that is none yet, and yield all of them.

    Pictures are drawn now, from the log of the world. Run again it finds what it made and makes
    the rest, also after it was killed.

    Args:
        site: The fleet's folder; the fleet may run.
        workspace: Where episodes and verdicts go.
        only_new: Read and yield only what came since the last time that this was asked for.

    Raises:
        DamagedData: Journal, logs or flights are not what was written.
        StorageError: The operating system refused.
        MissingSystemLibrary: No OpenGL library is installed.
    """
    standing = workspace.ledger.standing_verdicts(workspace.ledger.episode_ids())
    known = {verdict.flags.get("intent"): name for name, verdict in standing.items()}
    with ExitStack() as stack:
        studio = _Studio(stack)
        for attempt in read_attempts(site, workspace.root / MARK if only_new else None):
            goal = goal_of(attempt.intent)
            if goal is None or attempt.end - attempt.begin < HOLD:
                continue  # no skill of these scenarios, or killed before a whole row
            name = known.get(attempt.intent.id)
            is_new = name is None
            if name is None:
                name = _make(site, workspace, studio, attempt, goal)
            yield _made(site, workspace, attempt, name, is_new=is_new)


def goal_of(intent: IntentState) -> Goal | None:
    """Return what an attempt was to do; None for a skill that is no scenario of the warehouse."""
    values = {name: str(value) for name, value in intent.values.items()}
    if task_of(intent.robot, intent.skill) is None:
        return None
    if intent.skill == "drive":
        return Goal(skill="drive", station=values["goal"])
    skill = "pick" if intent.skill == "pick" else "place"
    return Goal(skill=skill, object=values["object"], surface=values["surface"])


class _Studio:
    """A world to let things happen again in, with the cameras of its robots."""

    def __init__(self, stack: ExitStack) -> None:
        self.world = Warehouse()
        self._stack = stack
        self._cameras: dict[str, ShoulderCamera] = {}

    def draw(self, robot: str, image_px: int) -> np.ndarray:
        """Return what the camera of a robot sees in the world as it is now."""
        if robot not in self._cameras:
            camera = ShoulderCamera(self.world, robot, image_px=image_px)
            self._stack.callback(camera.close)
            self._cameras[robot] = camera
        return self._cameras[robot].draw()


def _make(
    site: FleetSite, workspace: Workspace, studio: _Studio, attempt: Attempt, goal: Goal
) -> str:
    """Write the episode of an attempt with its verdicts, and a regression if it failed."""
    intent, task = attempt.intent, task_of(attempt.intent.robot, attempt.intent.skill)
    assert task is not None
    scenario = WarehouseScenario(task=task)
    rows = rows_of(
        attempt.log,
        studio.world,
        begin=attempt.begin,
        end=attempt.end,
        robot=intent.robot,
        goal=goal,
        look=lambda: studio.draw(intent.robot, scenario.image_px),
    )
    episode = _episode(scenario, attempt, goal, rows, requested_in(site, attempt))
    verdict, flags = judge(scenario, episode), _flags(attempt)
    name = write_episode(workspace, episode).id
    if attempt.censored is not None:
        verdict = replace(verdict, outcome="unknown", score=0.0, reason=attempt.censored)
    elif verdict.outcome == "failure" and intent.claim not in ("cancelled", "stopped"):
        failure = Failure(
            robot=intent.robot,
            goal=goal,
            begin=attempt.begin,
            end=attempt.begin + len(rows.proprio) * HOLD,
            evidence=verdict.evidence_digest,
            reason=f"{verdict.reason} ({intent.reason or intent.claim})",
            origin={**flags, "episode": name},
        )
        flags["regression"] = write_regression(site.regressions, failure, attempt.log).name
    workspace.ledger.add_annotation(
        Annotation(episode=name, label="asked", author=AUTHOR, text=attempt.task.instruction)
    )
    workspace.ledger.add_verdict(_observed(attempt, name, flags))
    workspace.ledger.add_verdict(replace(verdict, episode=name, flags=flags))
    return name


def _episode(
    scenario: WarehouseScenario, attempt: Attempt, goal: Goal, rows: Rows, asked: np.ndarray
) -> Episode:
    intent, count = attempt.intent, len(rows.proprio)
    # Nobody drew the start of an attempt at work: a number of the train split stands for it.
    number = int(digest_bytes(intent.id.encode())[:15], 16) % SPLIT_SIZE
    header = EpisodeHeader(
        scenario=scenario.id,
        kind="attempt",
        seed=split_seed("train", number),
        start=rows.start,
        instruction=goal.instruction,
        body="robot",
        interface=scenario.interface,
        evidence=scenario.evidence,
        behaviour=f"{intent.skill}/{intent.contract.version} of {intent.robot}, "
        f"intent {intent.id}, trace {attempt.task.trace}",
        censored=attempt.censored,
    )
    requested = rows.applied
    if asked.shape[1]:
        # Clipped as a policy's is; the black box keeps what was asked for, to the last bit.
        requested = scenario.interface.action.clip(
            in_rows(asked[: count * HOLD], len(coordinates_of(intent.robot)))
        )
    assert rows.images is not None
    return Episode(
        header=header,
        images={CAMERA: rows.images},
        time_s=rows.time_s,
        proprio=rows.proprio,
        requested=requested,
        applied=rows.applied,
        evidence=rows.evidence,
    )


def _flags(attempt: Attempt) -> dict[str, str]:
    """Return where an attempt comes from: what leads from an episode back to the journal."""
    intent, task = attempt.intent, attempt.task
    return {"task": task.id, "trace": task.trace, "intent": intent.id, "claim": intent.claim}


def _observed(attempt: Attempt, episode: str, flags: dict[str, str]) -> Verdict:
    """Return what robots and cameras saw after an attempt, as a verdict."""
    intent = attempt.intent
    outcome = _OUTCOMES.get(intent.outcome or "", "unknown")
    return Verdict(
        episode=episode,
        outcome=outcome,
        score=float(outcome == "success"),
        verifier=WITNESS,
        evidence_digest=digest_json([intent.id, intent.outcome, list(intent.unmet)]),
        reason=intent.reason or f"observed afterwards: {intent.outcome or 'nothing'}",
        authority="judge",
        flags=flags,
    )


def _made(
    site: FleetSite, workspace: Workspace, attempt: Attempt, name: str, *, is_new: bool
) -> Made:
    standing = workspace.ledger.standing_verdict(name)
    assert standing is not None
    regression = standing.flags.get("regression")
    return Made(
        episode=name,
        scenario=workspace.ledger.episodes_by_id([name])[name].scenario,
        attempt=attempt,
        observed=_OUTCOMES.get(attempt.intent.outcome or "", "unknown"),
        verified=standing.outcome,
        regression=site.regressions / str(regression) if regression else None,
        is_new=is_new,
    )
