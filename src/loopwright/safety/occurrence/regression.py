"""A regression scenario: one small file that says what once happened, and lets it happen again.

It holds all that is needed: how the robot is made, the state of the whole integration, what was
asked for as float64, the configuration of the filter, the limits, and what must happen. Nothing in
it refers to another file.

Shapes: N coordinates, K steps of the script.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from loopwright.core.digest import canonical_json, digest_bytes, digest_file
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted
from loopwright.core.stage import resolve_entry
from loopwright.safety.blackbox.replay import OWN_PLANTS
from loopwright.safety.body import Body, RobotEntry
from loopwright.safety.certificate.identity import robot_digest
from loopwright.safety.ladder import ALL
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.event import KINDS, EventKind
from loopwright.safety.occurrence.rerun import Sought, Stage
from loopwright.safety.occurrence.script import Script, Segment, length_of

FORMAT = "loopwright-regression/1"
SUFFIX = ".regression.json"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Regression:
    """What once happened, made small."""

    occurrence: str
    """Digest of the occurrence's statement."""
    title: str
    robot: RobotEntry
    robot_name: str
    robot_digest: str
    build: str
    """Of the plant it happened on: there it must come out bit by bit."""
    flight: str
    """Id of the flight it is from."""
    first_step: int
    """Number of the flight's control step at whose state it begins."""
    configuration: Configuration
    """Of the filter that flew."""
    filter: str
    """Digest of that filter."""
    kind: EventKind
    what: str
    event_after: int
    """After how many requests it happens: all of them."""
    least_margin: float
    """Of a thin margin."""
    state: bytes
    """Of the plant, where it begins."""
    script: Script
    measured: np.ndarray
    """float64 ``(T, 2 N)``: positions and speeds that must come out, up to the event: K + 1 of
    them for a limit that is exceeded, K where the last decision is the event."""

    @property
    def sought(self) -> Sought:
        """What must happen as recorded, and must not with a mended filter."""
        return Sought(
            kind=self.kind,
            what=self.what,
            limits=self.configuration.limits,
            least_margin=self.least_margin,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "format": FORMAT,
            **{name: getattr(self, name) for name in _WORDS},
            "robot": asdict(self.robot),
            "configuration": self.configuration.to_json(),
            "state": base64.b64encode(self.state).decode(),
            "script": [segment.to_json() for segment in self.script],
            "measured": base64.b64encode(self.measured.astype("<f8").tobytes()).decode(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Regression:
        """Read what :meth:`to_json` wrote.

        Raises:
            DamagedData: It is no regression scenario.
        """
        try:
            if data["format"] != FORMAT or data["kind"] not in KINDS:
                raise ValueError(f"format {data['format']!r}, kind {data['kind']!r}")
            configuration = Configuration.from_json(data["configuration"])
            script = tuple(Segment.from_json(segment) for segment in data["script"])
            numbers = np.frombuffer(base64.b64decode(data["measured"], validate=True), "<f8")
            found = cls(
                **{name: data[name] for name in _WORDS},
                robot=RobotEntry(**data["robot"]),
                configuration=configuration,
                state=base64.b64decode(data["state"], validate=True),
                script=script,
                measured=numbers.reshape(-1, 2 * len(configuration.limits.position_low)),
            )
            if found.event_after != length_of(script):
                raise ValueError(f"{found.event_after} steps, {length_of(script)} in the script")
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise DamagedData(f"this is no regression scenario: {error}") from error
        return found

    def write(self, suite: Path) -> Path:
        """Write it into the folder of a suite, whole or not at all; return the file.

        Raises:
            StorageError: The operating system refused.
        """
        raw = canonical_json(self.to_json())
        path = suite / f"{self.title}-{digest_bytes(raw)[:12]}{SUFFIX}"
        partial = path.with_suffix(".partial")
        try:
            suite.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(raw)
            partial.replace(path)
        except OSError as error:
            raise StorageError(f"the scenario {path} could not be written: {error}") from error
        return path

    @classmethod
    def read(cls, path: Path) -> Regression:
        """Read a file.

        Raises:
            DamagedData: It is missing, or no regression scenario.
        """
        try:
            return cls.from_json(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, DamagedData) as error:
            raise DamagedData(f"{path} is no regression scenario: {error}") from error


_WORDS = (
    "occurrence", "title", "robot_name", "robot_digest", "build", "flight", "first_step", "filter",
    "kind", "what", "event_after", "least_margin",
)  # fmt: skip

Mended = Literal["prevented", "still happens"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RegressionReport:
    """What came of running a regression scenario."""

    kind: EventKind
    """A brake that trips, or a thin margin, need not be prevented: it is the filter at work."""
    happens: bool
    """With the configuration that flew, after as many steps as then."""
    exact: bool
    """And every measured state is the recorded one, bit by bit."""
    first_difference: int | None
    """Step of the script at which a measured state is another one."""
    worst: float
    """Largest difference of a position or speed."""
    same_build: bool
    """Whether the plant is the build that it happened on."""
    same_filter: bool
    """Whether the filter made here has the digest of the one that flew."""
    mended: Mended
    """With the mended configuration."""
    mended_filter: str
    """Digest of the mended filter."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the scenario cannot be relied on, or what is not mended; empty if all is well."""
        found = []
        if not self.happens:
            why = "" if self.same_filter else " (the ladder's code is another one)"
            found.append(f"it does not happen any more as recorded{why}: the scenario is void")
        elif not self.exact and self.same_build and self.same_filter:
            found.append(
                f"it comes out differently from step {self.first_difference} on, by up to "
                f"{self.worst:.3g}, on the same build"
            )
        if self.mended == "still happens" and self.kind == "violation":
            found.append("it still happens with the mended configuration")
        return tuple(found)

    @property
    def holds(self) -> bool:
        """Whether it happens as recorded, and a violation not when mended."""
        return not self.problems


def mended_of(regression: Regression) -> Configuration:
    """Return the configuration that is tried where none is given: those limits, every rung."""
    return Configuration(limits=regression.configuration.limits, rungs=ALL)


def run_regression(
    file: Path | Regression, mended: Configuration | None = None, *, trusted: bool = False
) -> RegressionReport:
    """Let it happen again, as recorded and with a mended configuration.

    Args:
        file: The scenario.
        mended: What should prevent it; by default the recorded limits with every rung.
        trusted: Whether it is known who wrote it: it may name any function, which is called.

    Raises:
        DamagedData: It is no regression scenario.
        Untrusted: Its robot is none of Loopwright's, and the file is not trusted.
    """
    regression = file if isinstance(file, Regression) else Regression.read(file)
    body, stage = open_stage(regression, trusted=trusted)
    with closing(stage.plant):
        mended = mended or mended_of(regression)
        again = stage.run(regression.state, regression.script, regression.configuration)
        first, worst = _difference(again.measured, regression.measured)
        return RegressionReport(
            kind=regression.kind,
            happens=again.event_after == regression.event_after,
            exact=first is None,
            first_difference=first,
            worst=worst,
            same_build=stage.plant.spec.build == regression.build,
            same_filter=regression.configuration.make_filter(body).digest == regression.filter,
            mended="prevented" if prevents(stage, regression, mended) else "still happens",
            mended_filter=mended.make_filter(body).digest,
        )


def prevents(stage: Stage, regression: Regression, configuration: Configuration) -> bool:
    """Tell whether with a configuration it does not happen, nor soon afterwards."""
    return stage.is_prevented(regression.state, regression.script, configuration)


def open_stage(regression: Regression, *, trusted: bool = False) -> tuple[Body, Stage]:
    """Make the robot of a scenario; its plant has to be closed.

    Raises:
        Untrusted: It is none of Loopwright's, and the file is not trusted.
        InvalidConfig: It cannot be made.
        DamagedData: It is another robot than the file says.
    """
    body = make_body(regression.robot, trusted=trusted)
    if regression.robot.plant is None:
        raise InvalidConfig(f"{regression.robot_name} has no plant to run a scenario on")
    plant = resolve_entry(regression.robot.plant)(**regression.robot.config)
    if plant.spec.robot != regression.robot_name or 2 * plant.spec.size != len(
        regression.measured[0]
    ):
        raise DamagedData(f"the scenario is of {regression.robot_name}, not {plant.spec.robot}")
    return body, Stage(body, plant, regression.sought)


def make_body(robot: RobotEntry, *, trusted: bool = False) -> Body:
    """Make a body by its entry point.

    Raises:
        Untrusted: Body or plant are none of Loopwright's, and whoever names them is not trusted.
        InvalidConfig: It cannot be imported.
    """
    for entry in (robot.body, robot.plant or OWN_PLANTS):
        if not trusted and not entry.startswith(OWN_PLANTS):
            raise Untrusted(
                f"this would call {entry!r}, which is no robot of Loopwright; find out first who "
                "wrote it"
            )
    return resolve_entry(robot.body)(**robot.config)


def digest_of_file(path: Path) -> str:
    """Return the digest by which a scenario is registered.

    Raises:
        DamagedData: It cannot be read.
    """
    try:
        return digest_file(path)
    except OSError as error:
        raise DamagedData(f"{path} cannot be read: {error}") from error


def robot_digest_of(robot: RobotEntry, body: Body) -> str:
    """Return the digest that a certificate would name the robot by."""
    return robot_digest(body.spec, robot)


def _difference(found: np.ndarray, expected: np.ndarray) -> tuple[int | None, float]:
    """Return the first step that is not the same bit by bit, and the largest difference."""
    both = min(len(found), len(expected))
    differs = [found[i].tobytes() != expected[i].tobytes() for i in range(both)]
    if not any(differs):
        return (None, 0.0) if len(found) == len(expected) else (both, float("inf"))
    return differs.index(True), float(np.abs(found[:both] - expected[:both]).max())
