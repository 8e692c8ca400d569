"""A failed attempt of the fleet as a scenario: it begins exactly where the attempt began.

::

    regressions/
        <id>.json     where it began, what was asked for, how it ended: :class:`Regression`
        <id>.world    what the motors of all robots were told, to let it happen again
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from loopwright.core.digest import digest_file, digest_json
from loopwright.core.episode import EpisodeHeader, SourceKind, Verdict
from loopwright.core.errors import DamagedData, UnknownName
from loopwright.core.interface import Interface
from loopwright.core.policy import Policy
from loopwright.core.scenario import SPLIT_SIZE, Box, World
from loopwright.core.seeds import generator
from loopwright.scenarios.judgement import EvidenceVerifier, evidence_digest
from loopwright.scenarios.warehouse.evidence import EVIDENCE, verifier_of
from loopwright.scenarios.warehouse.interface import interface_of
from loopwright.scenarios.warehouse.scenario import behave, check_body
from loopwright.scenarios.warehouse.task import Goal, WarehouseTask, task_of
from loopwright.scenarios.warehouse.world import WarehouseWorld
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.simulation.warehouse.worldlog import WorldLog, engine, read_world_log
from loopwright.store.durable import write_text_file

FORMAT = "warehouse regression/v1"
SUFFIX, LOG_SUFFIX = ".json", ".world"
NUDGE_M = 0.01
"""Starts other than the first are this near to it in x and y."""
ALIKE = 0.005
"""Starts whose positions differ by less, in metres or radians, are one."""
_NUDGES = ("nudge_x_m", "nudge_y_m")


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """Where a failed attempt began, and how it went."""

    robot: str
    goal: Goal
    begin: int
    """First step of the attempt in the log beside this file."""
    end: int
    """One after the last."""
    moment: tuple[float, ...]
    """The whole state of the warehouse before the first step."""
    log: str
    """SHA-256 of the log."""
    evidence: str
    """Digest of the evidence of the attempt: happening again exactly gives the same."""
    reason: str
    """Why it failed, in words."""
    origin: Mapping[str, str]
    """Task, trace, intent and episode it comes from."""
    engine: Mapping[str, str] = field(default_factory=engine)
    """What the physics depends on."""
    format: str = FORMAT

    @property
    def id(self) -> str:
        """12 hexadecimal digits that name the start and the goal."""
        said = {"moment": list(self.moment), "goal": asdict(self.goal), "robot": self.robot}
        return digest_json(said)[:12]

    @property
    def task(self) -> WarehouseTask:
        """The task that was attempted.

        Raises:
            UnknownName: There is none of that robot and skill.
        """
        found = task_of(self.robot, self.goal.skill)
        if found is None:
            raise UnknownName("skill of a warehouse robot", f"{self.robot} {self.goal.skill}", ())
        return found

    @classmethod
    def read(cls, path: Path) -> Regression:
        """Read what :func:`write_regression` wrote.

        Raises:
            DamagedData: It is none, or was changed.
        """
        try:
            said = json.loads(path.read_bytes())
            if said.get("format") != FORMAT or set(said) != {f.name for f in fields(cls)}:
                raise ValueError(f"the format is {said.get('format')!r}, expected {FORMAT!r}")
            found = cls(**{**said, "goal": Goal(**said["goal"]), "moment": tuple(said["moment"])})
            if found.id != path.stem:
                raise ValueError(f"it was changed: it is {found.id} by now")
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise DamagedData(f"{path} is no regression of the warehouse: {error}") from error
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failed attempt, as whoever looked at it tells of it."""

    robot: str
    goal: Goal
    begin: int
    """First step in the log of the world."""
    end: int
    evidence: str
    """Digest of the evidence."""
    reason: str
    origin: Mapping[str, str]


def write_regression(folder: Path, failure: Failure, log: WorldLog) -> Path:
    """Make a scenario of a failed attempt; returns the path by which it is found.

    An attempt at the same from where a known one began, as a retry is, makes no other.

    Args:
        folder: Where regressions lie.
        failure: What failed.
        log: Of the world in which it failed.

    Raises:
        DamagedData: The log does not reach there, or does not repeat.
    """
    draft = Regression(
        robot=failure.robot,
        goal=failure.goal,
        begin=failure.begin,
        end=failure.end,
        moment=tuple(log.moment_at(failure.begin).tolist()),
        log="",
        evidence=failure.evidence,
        reason=failure.reason,
        origin=dict(failure.origin),
    )
    path = _like(folder, draft) or folder / f"{draft.id}{SUFFIX}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        digest = log.write_part(path.with_suffix(LOG_SUFFIX), failure.begin, failure.end)
        text = json.dumps(asdict(replace(draft, log=digest)), indent=1)
        write_text_file(path, text + "\n", "regression")
    return path


def _like(folder: Path, draft: Regression) -> Path | None:
    """Return a regression that begins where a new one does and asks for the same."""
    world, moment = Warehouse(), np.array(draft.moment)
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        known = Regression.read(path)
        same = (known.robot, known.goal, known.engine) == (draft.robot, draft.goal, draft.engine)
        if same and world.apart(np.array(known.moment), moment) < ALIKE:
            return path
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Repetition:
    """What came of letting a failed attempt happen again."""

    verdict: Verdict
    exact: bool
    """Whether every number of the evidence was the same."""


def repeat(path: Path) -> Repetition:
    """Let a failed attempt happen again with the same commands, and judge it.

    Raises:
        DamagedData: The regression or its log was changed, or comes from another engine.
    """
    from loopwright.scenarios.warehouse.recorded import rows_of

    regression, log_path = Regression.read(path), path.with_suffix(LOG_SUFFIX)
    if not log_path.exists() or digest_file(log_path) != regression.log:
        raise DamagedData(f"{log_path} is missing or not what was written beside {path}")
    log, robot, goal = read_world_log(log_path), regression.robot, regression.goal
    if not np.array_equal(log.moments[regression.begin], np.array(regression.moment)):
        raise DamagedData(f"{log_path} begins elsewhere than {path}")
    rows = rows_of(
        log, Warehouse(), begin=regression.begin, end=regression.end, robot=robot, goal=goal
    )
    scenario = RegressionScenario(regression=regression)
    header = EpisodeHeader(
        scenario=scenario.id,
        kind="attempt",
        seed=0,
        start=scenario.start(0),
        instruction=goal.instruction,
        body="robot",
        interface=scenario.interface,
        evidence=scenario.evidence,
    )
    return Repetition(
        verdict=scenario.verifier(header, rows.evidence),
        exact=evidence_digest(header, rows.evidence) == regression.evidence,
    )


@dataclass(frozen=True, kw_only=True)
class RegressionScenario:
    """A failed attempt to try again: the first seed of every split starts exactly where it did.

    The other seeds start with what lies about moved by up to a centimetre, so that what was
    learned from it is more than one motion.
    """

    regression: Regression
    image_px: int = 64

    @property
    def id(self) -> str:
        """Versioned id; the digits name the start."""
        return f"warehouse-regression-{self.regression.id}-v1"

    @property
    def instruction(self) -> str:
        """What to do, in words."""
        return self.regression.goal.instruction

    @property
    def interface(self) -> Interface:
        """What a policy sees and commands."""
        return interface_of(self.regression.robot, self.image_px)

    @property
    def evidence(self) -> tuple[str, ...]:
        """Names of the evidence columns, with units."""
        return EVIDENCE[self.regression.goal.skill]

    @property
    def domain(self) -> Box:
        """How far starts are from where the attempt began."""
        return Box(low=dict.fromkeys(_NUDGES, -NUDGE_M), high=dict.fromkeys(_NUDGES, NUDGE_M))

    @property
    def max_steps(self) -> int:
        """Control steps of an attempt."""
        return self.regression.task.max_steps

    @property
    def verifier(self) -> EvidenceVerifier:
        """The judge of the same skill."""
        return verifier_of(self.regression.goal.skill)

    def start(self, seed: int) -> Mapping[str, float]:
        """Return how far from where the attempt began a seed starts."""
        if seed % SPLIT_SIZE == 0:
            return dict.fromkeys(_NUDGES, 0.0)
        values = generator(seed, "warehouse-nudge", self.id).uniform(-NUDGE_M, NUDGE_M, 2)
        return dict(zip(_NUDGES, values.tolist(), strict=True))

    def make_world(self, *, body: str = "robot", image_px: int | None = None) -> World:
        """Build the world, with another image side if asked.

        Raises:
            UnknownName: There is no such body.
            MissingSystemLibrary: No OpenGL library is installed.
            DamagedData: The regression is one of another version of the warehouse.
        """
        check_body(body)
        if dict(self.regression.engine) != engine():
            raise DamagedData(
                f"{self.id} was recorded with {dict(self.regression.engine)}; this is {engine()}"
            )
        robot = self.regression.robot
        return WarehouseWorld(self.id, robot, self._begin, image_px=image_px or self.image_px)

    def behaviour(self, kind: SourceKind, world: World) -> Policy:
        """Return the expert (``demo``, ``video``) or random motion (``play``).

        Raises:
            UnknownName: No other kind can be made here.
            InvalidConfig: The world is not one of the warehouse.
        """
        return behave(self.id, kind, world)

    def _begin(self, world: Warehouse, seed: int) -> Goal:
        from loopwright.scenarios.warehouse.starts import nudge

        regression, moved = self.regression, self.start(seed)
        world.restore(np.array(regression.moment))
        if any(moved.values()):
            nudge(world, regression.robot, regression.goal, *moved.values())
            world.settle()
        return regression.goal
