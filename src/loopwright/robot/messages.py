"""What a coordinator and the agents of robots say to each other.

Orders go to one robot, reports come back, pulses say that somebody lives. Every order carries the
coordinator's epoch and the robot's: an agent refuses what is older than the newest it has heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

from loopwright.core.digest import Json
from loopwright.core.errors import ContractError

DEADMAN_S = 2.0
"""A robot that no coordinator has counted on for so long stops what it does."""
LEASE_S = 4.0
"""So long after its last word nobody else gets the work of a robot that fell silent. It is longer
than the silence that makes it lost, the deadman and a stop together: by then the robot is at rest,
whichever direction of the bus was cut."""

Claim = Literal["finished", "gave-up", "cancelled", "timed-out", "crashed", "stopped", "refused"]
"""How an attempt ended in the eyes of the robot. It is a claim: the world decides."""

IntentStanding = Literal["never-heard", "running", "ended", "interrupted"]
"""What an agent knows of an intent; ``interrupted``: it began, and the agent died since."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """Something said on the bus."""

    KIND: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :func:`message_from_json` reads back equal."""
        return {"kind": self.KIND, **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class CoordinatorPulse(Message):
    """The coordinator lives, and these are the robots that it counts on."""

    KIND: ClassVar[str] = "coordinator-pulse"
    epoch: int
    at_work: Mapping[str, int] = field(default_factory=dict)
    """Incarnation to robot epoch. Whoever is not among them was given up, or never heard: it
    reports for work again, and may soon not go on with what it does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSkill(Message):
    """Run a skill."""

    KIND: ClassVar[str] = "run-skill"
    coordinator_epoch: int
    robot_epoch: int
    intent: str
    trace: str
    skill: str
    values: Mapping[str, Json]
    longest_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelSkill(Message):
    """Stop an attempt now, safely, and say how it stands."""

    KIND: ClassVar[str] = "cancel-skill"
    coordinator_epoch: int
    intent: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquire(Message):
    """How does an intent stand?"""

    KIND: ClassVar[str] = "inquire"
    coordinator_epoch: int
    intent: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Look(Message):
    """Look around and report what you see."""

    KIND: ClassVar[str] = "look"
    coordinator_epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop(Message):
    """Emergency stop; latched in the robot until it is released."""

    KIND: ClassVar[str] = "stop"
    by: str
    reminder: bool = False
    """Said again to a robot that seems not to have heard; whoever is stopped is not so anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release(Message):
    """A stop is released, signed by somebody who may."""

    KIND: ClassVar[str] = "release"
    by: str
    signature: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined(Message):
    """A robot reports for work to a coordinator."""

    KIND: ClassVar[str] = "joined"
    robot: str
    incarnation: str
    """Another one after every start of the agent."""
    coordinator_epoch: int
    parts: tuple[str, ...]
    skills: tuple[Mapping[str, Json], ...]
    running: tuple[str, ...] = ()
    """Intents that run; those that were given up meanwhile have to stop before it gets work."""
    sightings: tuple[Mapping[str, Json], ...] = ()
    """What it sees and feels, so that nobody plans with a robot that nobody has seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcome(Message):
    """The answer to :class:`Joined`: the epoch that orders to this robot will carry."""

    KIND: ClassVar[str] = "welcome"
    coordinator_epoch: int
    robot_epoch: int
    incarnation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotPulse(Message):
    """A robot lives."""

    KIND: ClassVar[str] = "robot-pulse"
    robot: str
    incarnation: str
    running: tuple[str, ...]
    """Intents that run."""
    held: str
    """Why it may not move (an emergency stop, a latched guard); empty if it may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started(Message):
    """An attempt begins to move."""

    KIND: ClassVar[str] = "started"
    robot: str
    intent: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended(Message):
    """An attempt is over in the eyes of the robot; it has looked around since."""

    KIND: ClassVar[str] = "ended"
    robot: str
    intent: str
    claim: Claim
    reason: str
    lasted_s: float
    sightings: tuple[Mapping[str, Json], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing(Message):
    """The answer to an inquiry, if the attempt has not ended."""

    KIND: ClassVar[str] = "standing"
    robot: str
    intent: str
    standing: IntentStanding


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen(Message):
    """What a robot or camera sees."""

    KIND: ClassVar[str] = "seen"
    by: str
    sightings: tuple[Mapping[str, Json], ...]


MESSAGES: dict[str, type[Message]] = {
    message.KIND: message
    for message in (
        CoordinatorPulse,
        RunSkill,
        CancelSkill,
        Inquire,
        Look,
        Stop,
        Release,
        Joined,
        Welcome,
        RobotPulse,
        Started,
        Ended,
        Standing,
        Seen,
    )
}


class MalformedMessage(ContractError):
    """Something on the bus is no message of ours; it is dropped, and said."""


def message_from_json(data: Any) -> Message:
    """Read what :meth:`Message.to_json` wrote.

    Raises:
        MalformedMessage: It is no message.
    """
    if not isinstance(data, dict) or str(data.get("kind")) not in MESSAGES:
        raise MalformedMessage(f"this is no message: {str(data)[:200]}")
    kind = MESSAGES[data["kind"]]
    names = {f.name for f in fields(kind)}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "kind"}
    if unknown := sorted(set(given) - names):
        raise MalformedMessage(f"a {data['kind']!r} has no {unknown}")
    try:
        return kind(**given)
    except TypeError as error:
        raise MalformedMessage(f"a {data['kind']!r} is incomplete: {error}") from error


COORDINATOR = "fleet/coordinator"
"""Topic of the coordinator's pulses."""
REPORTS = "fleet/reports"
"""Topic of everything that robots and cameras say."""


def orders_to(robot: str) -> str:
    """Return the topic of the orders to one robot."""
    return f"fleet/robots/{robot}/orders"


ALL_ROBOTS = "fleet/robots/all/orders"
"""Topic of what every robot must hear: stops and their release."""
