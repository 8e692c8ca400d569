"""A bridge to ROS 2 without ROS: its messages over Zenoh, as rmw_zenoh lays them out.

It tells ROS what robots do (joint states, transforms, texts), and hears velocities and texts if it
was opened with a token that may operate. ROS 2 itself has no roles: whoever is on its network may
send ``/cmd_vel``. So a bridge that should not be steered is opened with a token that may observe.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from loopwright.core.errors import InvalidConfig, MissingExtra
from loopwright.robot.access import Access
from loopwright.robot.bus import Failures
from loopwright.robot.wires.ros2_names import Attachment, Node, NotFromRos, Topic, gid_of
from loopwright.robot.wires.zenoh_bus import (
    ANY_LOOPBACK_PORT,
    UNTIL_THEY_ARE_THERE,
    check_endpoints,
)

if TYPE_CHECKING:
    import zenoh

JOINT_STATE = "sensor_msgs/msg/JointState"
TWIST = "geometry_msgs/msg/Twist"
TEXT = "std_msgs/msg/String"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

_Heard = TypeVar("_Heard")


@dataclass(frozen=True, kw_only=True, slots=True)
class RosSettings:
    """Where ROS 2 is."""

    connect: tuple[str, ...] = ("tcp/127.0.0.1:7447",)
    """Endpoints; by default that of the router that rmw_zenoh asks for on this machine."""
    listen: str = ANY_LOOPBACK_PORT
    domain: int = 0
    """``ROS_DOMAIN_ID``."""
    node: str = "loopwright"
    fresh_s: float = 0.5
    """A command that is older than this is not followed."""
    beyond_loopback: bool = False

    def __post_init__(self) -> None:
        """Refuse domains that are none, and other machines unless they are meant."""
        if not 0 <= self.domain <= 232:
            raise InvalidConfig(f"domain {self.domain} is not between 0 and 232")
        check_endpoints(self.listen, *self.connect, beyond_loopback=self.beyond_loopback)


@dataclass(frozen=True, slots=True)
class VelocityCommand:
    """What somebody on ROS wants a base to do."""

    linear_m_per_s: np.ndarray
    """float64 ``(3,)``, in the frame of the base."""
    angular_rad_per_s: np.ndarray
    """float64 ``(3,)``."""
    age_s: float
    """By the clock of the sender."""


class RosPublisher:
    """One publisher on one topic."""

    def __init__(self, bridge: RosBridge, topic: Topic, number: int) -> None:
        """Announce it."""
        self._bridge, self._topic = bridge, topic
        token = bridge.node.token("MP", number, topic)
        self._gid, self._counts = gid_of(token), itertools.count(1)
        self._lock = threading.Lock()
        self._token = bridge.announce(token)

    def publish(self, message: Any) -> None:
        """Send a message of the topic's type."""
        data = self._bridge.serialized(message, self._topic.type_name)
        with self._lock:
            attachment = Attachment(next(self._counts), time.time_ns(), self._gid)
            self._bridge.put(self._topic.key, data, attachment.to_bytes())


class RosBridge:
    """A node on a ROS 2 network."""

    def __init__(self, settings: RosSettings, access: Access, token: str) -> None:
        """Come onto the network.

        Args:
            settings: Where it is.
            access: The tokens of the fleet.
            token: Whose rights the bridge has: ``observe`` to tell, ``operate`` to be steered.

        Raises:
            NotAllowedHere: The token is unknown.
            MissingExtra: Zenoh or rosbags is not installed.
        """
        access.require(token, "observe")
        self._settings, self._access, self._access_token = settings, access, token
        self._zenoh, self._types = _libraries()
        self._session = self._opened()
        self.node = Node(
            domain=settings.domain, session=str(self._session.info.zid()), name=settings.node
        )
        self._numbers = itertools.count(1)
        self._dropped: Counter[str] = Counter()
        self._failures = Failures()
        self._kept: list[Any] = [self.announce(self.node.token("NN", 0))]

    # Telling -------------------------------------------------------------------------------------

    def publisher(self, name: str, type_name: str) -> RosPublisher:
        """Return a new publisher on a topic."""
        return RosPublisher(self, self.topic(name, type_name), next(self._numbers))

    def joint_state(
        self,
        names: Sequence[str],
        position: np.ndarray,
        speed: np.ndarray,
        *,
        time_s: float,
        frame: str = "",
    ) -> Any:
        """Return a message with the joints of a robot.

        Args:
            names: N names.
            position: float ``(N,)``, radians or metres.
            speed: float ``(N,)``, the same per second.
            time_s: Wall clock.
            frame: Of the robot.
        """
        if not len(names) == len(position) == len(speed):
            raise InvalidConfig(
                f"{len(names)} names, {len(position)} positions, {len(speed)} speeds"
            )
        return self.make(
            JOINT_STATE,
            header=self._header(time_s, frame),
            name=list(names),
            position=np.asarray(position, np.float64),
            velocity=np.asarray(speed, np.float64),
            effort=np.zeros(0),
        )

    def transforms(
        self, poses: Mapping[str, Sequence[float]], *, time_s: float, frame: str = "world"
    ) -> Any:
        """Return a message with where things are: name to metres and quaternion wxyz."""
        return self.make(
            TRANSFORMS,
            transforms=[self._transform(n, p, time_s, frame) for n, p in poses.items()],
        )

    def text(self, text: str) -> Any:
        """Return a message with a text."""
        return self.make(TEXT, data=text)

    # Hearing -------------------------------------------------------------------------------------

    def on_velocity(self, name: str, hear: Callable[[VelocityCommand], None]) -> Callable[[], None]:
        """Call ``hear`` with every fresh ``Twist`` on a topic; see :meth:`on_text`.

        One that is not finite is dropped and counted too.
        """
        return self._on(name, TWIST, _velocity, hear)

    def on_text(self, name: str, hear: Callable[[str], None]) -> Callable[[], None]:
        """Call ``hear`` with every fresh text on a topic, in a thread of Zenoh's.

        Messages of one publisher are heard in order; one that is stale, repeated, overtaken, or of
        another type is dropped and counted.

        Returns:
            How to end that.

        Raises:
            NotAllowedHere: The token of this bridge may not operate.
        """
        return self._on(name, TEXT, lambda message, age_s: str(message.data), hear)

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many messages were not heard, by why."""
        return dict(self._dropped)

    @property
    def failures(self) -> Mapping[str, int]:
        """Topic to how often whoever hears its messages failed at one."""
        return self._failures.counts

    def close(self) -> None:
        """Leave the network; idempotent."""
        self._session.close()  # pyright: ignore[reportAttributeAccessIssue]

    # What publishers use -------------------------------------------------------------------------

    def topic(self, name: str, type_name: str) -> Topic:
        """Return a topic of this domain, its type with the hash that every peer computes."""
        if not name.startswith("/") or name.endswith("/"):
            raise InvalidConfig(f"{name!r} is no absolute topic such as '/cmd_vel'")
        return Topic(
            domain=self._settings.domain,
            name=name,
            type_name=type_name,
            type_hash=self._types.hash_rihs01(type_name),
        )

    def make(self, type_name: str, **fields: Any) -> Any:
        """Return a message of a type."""
        return self._types.types[type_name](**fields)

    def serialized(self, message: Any, type_name: str) -> bytes:
        """Return a message as CDR, little-endian."""
        return bytes(self._types.serialize_cdr(message, type_name))

    def put(self, key: str, data: bytes, attachment: bytes) -> None:
        """Send bytes."""
        self._session.put(key, data, attachment=attachment)

    def announce(self, token: str) -> Any:
        """Declare a liveliness token, by which ROS knows of nodes and topics."""
        return self._session.liveliness().declare_token(token)

    # Within --------------------------------------------------------------------------------------

    def _on(
        self,
        name: str,
        type_name: str,
        read: Callable[[Any, float], _Heard],
        hear: Callable[[_Heard], None],
    ) -> Callable[[], None]:
        self._access.require(self._access_token, "operate")
        topic = self.topic(name, type_name)
        newest: dict[bytes, int] = {}

        def arrived(sample: zenoh.Sample) -> None:
            with self._failures.noted(name):
                try:
                    heard = read(*self._fresh(sample, type_name, newest))
                except _Dropped as error:
                    self._dropped[str(error)] += 1
                    return
                hear(heard)

        subscriber = self._session.declare_subscriber(topic.key, arrived)
        token = self.announce(self.node.token("MS", next(self._numbers), topic))

        def end() -> None:
            subscriber.undeclare()
            token.undeclare()

        return end

    def _fresh(
        self, sample: zenoh.Sample, type_name: str, newest: dict[bytes, int]
    ) -> tuple[Any, float]:
        """Return a message and its age in seconds by the clock of the sender."""
        with _said_to_be("malformed", NotFromRos, self._types_error()):
            beside = Attachment.from_bytes(
                sample.attachment.to_bytes() if sample.attachment else b""
            )
            message = self._types.deserialize_cdr(sample.payload.to_bytes(), type_name)
        age_s = (time.time_ns() - beside.time_ns) / 1e9
        if abs(age_s) > self._settings.fresh_s:
            raise _Dropped("stale")
        if beside.sequence <= newest.get(beside.gid, 0):
            raise _Dropped("repeated")
        newest[beside.gid] = beside.sequence
        return message, age_s

    def _types_error(self) -> type[Exception]:
        from rosbags.serde import SerdeError

        return SerdeError

    def _header(self, time_s: float, frame: str) -> Any:
        seconds, rest = divmod(round(time_s * 1e9), 1_000_000_000)
        stamp = self.make("builtin_interfaces/msg/Time", sec=seconds, nanosec=rest)
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)

    def _transform(self, name: str, pose: Sequence[float], time_s: float, frame: str) -> Any:
        x, y, z, qw, qx, qy, qz = map(float, pose)
        return self.make(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(time_s, frame),
            child_frame_id=name,
            transform=self.make(
                "geometry_msgs/msg/Transform",
                translation=self.make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
                rotation=self.make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
            ),
        )

    def _opened(self) -> zenoh.Session:
        config = self._zenoh.Config()
        for path, value in {
            "mode": "peer",
            "listen/endpoints": [self._settings.listen],
            "connect/endpoints": list(self._settings.connect),
            **UNTIL_THEY_ARE_THERE,
            "scouting/multicast/enabled": False,
            "scouting/gossip/enabled": True,
        }.items():
            config.insert_json5(path, json.dumps(value))
        try:
            return self._zenoh.open(config)
        except self._zenoh.ZError as error:
            raise InvalidConfig(f"cannot listen on {self._settings.listen}: {error}") from error


class _Dropped(Exception):
    """A message that is not heard; the text is why."""


def _velocity(twist: Any, age_s: float) -> VelocityCommand:
    linear, angular = (np.array([v.x, v.y, v.z], np.float64) for v in (twist.linear, twist.angular))
    if not (np.isfinite(linear).all() and np.isfinite(angular).all()):
        raise _Dropped("not-finite")
    return VelocityCommand(linear, angular, age_s)


@contextmanager
def _said_to_be(why: str, *kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        raise _Dropped(why) from error


def _libraries() -> tuple[Any, Any]:
    try:
        import zenoh
        from rosbags.typesys import Stores, get_typestore
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "rosbags", "ros2", "a bridge to ROS 2") from error
    return zenoh, get_typestore(Stores.ROS2_JAZZY)
