"""What the processes of a cell are told: plain data, read from one JSON file by all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.core.stage import resolve_entry
from loopwright.safety.body import Body, RobotEntry

STOP_LOG = "stops.log"
"""Name of the watchdog's log of stops among the logs of a cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Something that a process makes for itself, by the name of a function."""

    entry: str
    """``"package.module:function"``."""
    config: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments; plain data."""

    def make(self, **given: object) -> Any:
        """Call the function with what the process gives and what the configuration says.

        Raises:
            InvalidConfig: Nothing is there by that name.
        """
        return resolve_entry(self.entry)(**given, **self.config)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How long each may be silent before others stop the robot, in seconds.

    The defaults were chosen from stalls measured on a loaded machine with two cores (see
    ``docs/concepts/safety-guard.md``); they suit a robot whose own speed limit makes the way it
    goes in that time harmless: 40 ms at 0.25 m/s are 10 mm.
    """

    late_s: float = 0.02
    """A guard that begins a step this late, or takes this long for it, stops its robot."""
    guard_s: float = 0.04
    """The watchdog drops the line when a guard's heartbeat is older."""
    command_s: float = 0.05
    """A drive stops by itself when its guard's last word is older."""
    line_s: float = 0.06
    """A drive, and a guard, stop when the watchdog's heartbeat is older."""
    reading_s: float = 0.05
    """Guard and watchdog stop when the drive's last reading is older."""
    policy_s: float = 0.2
    """A guard stops for good when a policy that was not resting is silent longer."""

    def __post_init__(self) -> None:
        """Refuse bounds that are no times."""
        for name, value in asdict(self).items():
            if not 0 < value < float("inf"):
                raise InvalidConfig(f"{name} is {value}; expected seconds, more than 0")


PLANT_ACTUATORS = Part(entry="loopwright.safety.guard.actuators:make_plant_actuators")


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotConfig:
    """One robot of a cell, and the parts that guard it."""

    name: str
    """Within the cell; part of file names."""
    entry: RobotEntry
    filter: Part
    """Called with ``body``; returns a :class:`~loopwright.safety.guard.ports.Filter`."""
    recorder: Part
    """Called with ``robot``, ``entry``, ``spec`` and ``filter_digest``; returns a ``Recorder``."""
    watch: Part | None = None
    """Called with ``robot``; returns a ``Watch``. None where no directives reach."""
    actuators: Part = PLANT_ACTUATORS
    """Called with ``robot`` and ``entry``; returns ``Actuators``."""

    def __post_init__(self) -> None:
        """Refuse names that are no file names."""
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise InvalidConfig(f"robot {self.name!r}; expected letters, digits, - and _")

    def body(self) -> Body:
        """Make its body."""
        return resolve_entry(self.entry.body)(**self.entry.config)


@dataclass(frozen=True, kw_only=True, slots=True)
class CellConfig:
    """Robots that stop together."""

    name: str
    robots: tuple[RobotConfig, ...]
    signals: Path
    """Folder of the shared memory; best below ``/dev/shm``. Gone after a restart of the machine."""
    logs: Path
    """Folder of stop log and releases, on a disk; it outlives everything."""
    ring: Path
    """Key ring file: operators on it may sign releases."""
    bounds: Bounds = Bounds()
    watchdog_hz: float = 200.0
    priority: int = 50
    """Real-time priority of the guards; drives and watchdog stand above them. 0 asks for none."""

    def __post_init__(self) -> None:
        """Refuse an empty cell and robots of one name."""
        names = [robot.name for robot in self.robots]
        if not names or len(set(names)) != len(names):
            raise InvalidConfig(f"cell {self.name!r} has the robots {names}; expected others")
        if self.priority != 0 and not 2 <= self.priority <= 90:
            raise InvalidConfig(f"priority is {self.priority}; expected 0, or 2 to 90")
        if not self.watchdog_hz > 0:
            raise InvalidConfig(f"watchdog_hz is {self.watchdog_hz}; expected more than 0")

    def robot(self, name: str) -> RobotConfig:
        """Return a robot by its name.

        Raises:
            InvalidConfig: There is none.
        """
        for robot in self.robots:
            if robot.name == name:
                return robot
        raise InvalidConfig(f"cell {self.name!r} has no robot {name!r}")

    def index(self, name: str) -> int:
        """Return the place of a robot in the cell."""
        return self.robots.index(self.robot(name))

    @property
    def stop_log(self) -> Path:
        """The watchdog's log of stops."""
        return self.logs / STOP_LOG

    @property
    def releases(self) -> Path:
        """Folder of signed releases."""
        return self.logs / "releases"

    def guard_log(self, robot: str) -> Path:
        """A guard's own log of stops: the second place, beside its black box."""
        return self.logs / f"{robot}.guard.log"

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        plain = asdict(self)
        return {**plain, **{name: str(plain[name]) for name in ("signals", "logs", "ring")}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(
            **{
                **data,
                "robots": tuple(_robot(robot) for robot in data["robots"]),
                "signals": Path(data["signals"]),
                "logs": Path(data["logs"]),
                "ring": Path(data["ring"]),
                "bounds": Bounds(**data["bounds"]),
            }
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a configuration file.

        Raises:
            DamagedData: It is missing, or no configuration of a cell.
        """
        try:
            return cls.from_json(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedData(f"{path} is no configuration of a cell: {error}") from error


def _robot(data: Mapping[str, Any]) -> RobotConfig:
    parts = {
        name: None if data[name] is None else Part(**data[name])
        for name in ("filter", "recorder", "watch", "actuators")
    }
    return RobotConfig(**{**data, **parts, "entry": RobotEntry(**data["entry"])})
