"""The bridge to ROS 2 against a peer that is written here from the specification alone."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wires_fleet import open_fleet

from loopwright.core.errors import InvalidConfig
from loopwright.robot.access import ACCESS_ROLES, Access, NotAllowedHere
from loopwright.robot.wires.ros2_names import Attachment, Node, NotFromRos, Topic

zenoh = pytest.importorskip("zenoh")
pytest.importorskip("rosbags")

from loopwright.robot.wires.ros2 import (  # noqa: E402
    JOINT_STATE,
    TEXT,
    TRANSFORMS,
    RosBridge,
    RosSettings,
    VelocityCommand,
)

ACCESS = Access({role: f"{role:-<40}" for role in ACCESS_ROLES})
TEXT_HASH = "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
TWIST_HASH = "RIHS01_9c45bf16fe0983d80e3cfe750d6835843d265a9a6c46bd2e609fcddde6fb8d2a"
CMD_VEL = f"7/base/cmd_vel/geometry_msgs::msg::dds_::Twist_/{TWIST_HASH}"


def until(true: Callable[[], object]) -> None:
    end_s = time.monotonic() + 10.0
    while not true():
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.01)


def free_endpoint() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{taken.getsockname()[1]}"


class Peer:
    """A ROS 2 process as rmw_zenoh would show it: bytes only, nothing of ours."""

    def __init__(self, endpoint: str | None = None, mode: str = "peer") -> None:
        self.endpoint = endpoint or free_endpoint()
        config = zenoh.Config()
        config.insert_json5("mode", json.dumps(mode))
        config.insert_json5("scouting/multicast/enabled", "false")
        config.insert_json5("listen/endpoints", json.dumps([self.endpoint]))
        self.session: Any = zenoh.open(config)
        self.heard: dict[str, list[tuple[bytes, bytes]]] = {}
        self.session.declare_subscriber("7/**", self._hear)
        self.tokens: set[str] = set()
        self.session.liveliness().declare_subscriber(
            "@ros2_lv/7/**", lambda s: self.tokens.add(str(s.key_expr)), history=True
        )

    def _hear(self, sample: Any) -> None:
        pair = (sample.payload.to_bytes(), sample.attachment.to_bytes())
        self.heard.setdefault(str(sample.key_expr), []).append(pair)

    def say(self, twist: tuple[float, ...], *, sequence: int, age_s: float = 0.0) -> None:
        data = b"\x00\x01\x00\x00" + struct.pack("<6d", *twist)
        beside = struct.pack("<qq", sequence, time.time_ns() - int(age_s * 1e9))
        self.session.put(CMD_VEL, data, attachment=beside + b"\x10" + b"G" * 16)

    def tell(self, topic: str, text: str, *, sequence: int) -> None:
        bytes_ = text.encode() + b"\0"
        data = b"\x00\x01\x00\x00" + struct.pack("<I", len(bytes_)) + bytes_
        beside = struct.pack("<qq", sequence, time.time_ns())
        key = f"7/{topic}/std_msgs::msg::dds_::String_/{TEXT_HASH}"
        self.session.put(key, data, attachment=beside + b"\x10" + b"G" * 16)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.session.close()


def bridge_to(peer: Peer, role: str = "operate") -> RosBridge:
    settings = RosSettings(connect=(peer.endpoint,), domain=7, fresh_s=20.0)
    return RosBridge(settings, ACCESS, ACCESS.tokens[role])  # type: ignore[index]


@pytest.fixture
def bridge(peer: Peer) -> Iterator[RosBridge]:
    bridge = bridge_to(peer)
    yield bridge
    bridge.close()


def test_ros_hears_what_robots_do_byte_for_byte(peer: Peer, bridge: RosBridge) -> None:
    publisher = bridge.publisher("/status", TEXT)
    key = f"7/status/std_msgs::msg::dds_::String_/{TEXT_HASH}"
    until(lambda: publisher.publish(bridge.text("hello")) or peer.heard.get(key))
    data, beside = peer.heard[key][-1]
    assert data == b"\x00\x01\x00\x00" + b"\x06\x00\x00\x00hello\x00"
    sequence, time_ns = struct.unpack("<qq", beside[:16])
    assert (len(beside), beside[16], sequence >= 1) == (33, 16, True)
    assert abs(time.time_ns() - time_ns) < 10e9


def test_the_router_may_be_started_after_the_bridge_and_again() -> None:
    endpoint = free_endpoint()
    settings = RosSettings(connect=(endpoint,), domain=7)
    bridge = RosBridge(settings, ACCESS, ACCESS.tokens["observe"])
    try:
        publisher = bridge.publisher("/status", TEXT)
        time.sleep(0.5)
        for _ in range(2):
            router = Peer(endpoint, mode="router")
            try:
                until(lambda: publisher.publish(bridge.text("hello")) or router.heard)  # noqa: B023
                until(lambda: len(router.tokens) == 2)  # noqa: B023
            finally:
                router.session.close()
    finally:
        bridge.close()


def test_whoever_fails_at_a_command_hears_the_next(peer: Peer, bridge: RosBridge) -> None:
    heard: list[float] = []

    def hear(command: VelocityCommand) -> None:
        heard.append(command.linear_m_per_s[0])
        raise OSError("the base is not there")

    bridge.on_velocity("/base/cmd_vel", hear)
    numbers = iter(range(1, 10_000))
    until(lambda: peer.say((1, 0, 0, 0, 0, 0), sequence=next(numbers)) or len(heard) > 1)
    until(lambda: bridge.failures == {"/base/cmd_vel": len(heard)})


def test_joint_states_have_the_layout_of_cdr(peer: Peer, bridge: RosBridge) -> None:
    message = bridge.joint_state(
        ["a", "bc"], np.array([0.5, -1.0]), np.array([2.0, 3.0]), time_s=1.25, frame="arm"
    )
    expected = (
        struct.pack("<iI", 1, 250_000_000)
        + struct.pack("<I4s", 4, b"arm\0")
        + struct.pack("<I", 2)
        + struct.pack("<I2sxx", 2, b"a\0")
        + struct.pack("<I3sx", 3, b"bc\0")
        + struct.pack("<I", 2)
    )
    expected += b"\0" * (-len(expected) % 8) + struct.pack("<2d", 0.5, -1.0)
    expected += struct.pack("<Ixxxx2d", 2, 2.0, 3.0) + struct.pack("<I", 0)
    assert bridge.serialized(message, JOINT_STATE)[4:] == expected
    with pytest.raises(InvalidConfig):
        bridge.joint_state(["a"], np.zeros(2), np.zeros(2), time_s=0.0)


def test_transforms_turn_quaternions_round(bridge: RosBridge) -> None:
    message = bridge.transforms({"cup": (1, 2, 3, 0.5, 0.1, 0.2, 0.3)}, time_s=2.0)
    data = bridge.serialized(message, TRANSFORMS)
    assert data.endswith(struct.pack("<7d", 1, 2, 3, 0.1, 0.2, 0.3, 0.5))


def test_ros_sees_the_node_and_its_topics(peer: Peer, bridge: RosBridge) -> None:
    bridge.publisher("/status", TEXT)
    bridge.on_velocity("/base/cmd_vel", lambda _: None)
    until(lambda: len(peer.tokens) == 3)
    zid = str(bridge._session.info.zid())
    start = f"@ros2_lv/7/{zid}/0"
    assert peer.tokens == {
        f"{start}/0/NN/%/%/loopwright",
        f"{start}/1/MP/%/%/loopwright/%status/std_msgs::msg::dds_::String_/{TEXT_HASH}/::,10:,:,:,,",
        f"{start}/2/MS/%/%/loopwright/%base%cmd_vel/geometry_msgs::msg::dds_::Twist_/{TWIST_HASH}"
        "/::,10:,:,:,,",
    }


def test_commands_of_ros_are_heard_once_fresh_and_finite(peer: Peer, bridge: RosBridge) -> None:
    heard: list[VelocityCommand] = []
    end = bridge.on_velocity("/base/cmd_vel", heard.append)
    numbers = iter(range(1, 10_000))
    until(lambda: peer.say((1, 2, 3, 4, 5, 6), sequence=next(numbers)) or heard)
    last = next(numbers)
    peer.say((1, 2, 3, 4, 5, 6), sequence=last)
    peer.say((9, 0, 0, 0, 0, 0), sequence=last)
    peer.say((9, 0, 0, 0, 0, 0), sequence=last + 1, age_s=60.0)
    peer.say((float("nan"), 0, 0, 0, 0, 0), sequence=last + 2)
    peer.session.put(CMD_VEL, b"\x00\x01\x00\x00short", attachment=b"x")
    peer.session.put(CMD_VEL, b"", attachment=Attachment(1, time.time_ns(), b"H" * 16).to_bytes())
    peer.session.put(CMD_VEL, b"no attachment at all")
    until(lambda: sum(bridge.dropped.values()) == 6)
    assert bridge.dropped == {"repeated": 1, "stale": 1, "not-finite": 1, "malformed": 3}
    for command in heard:
        np.testing.assert_array_equal(command.linear_m_per_s, [1.0, 2.0, 3.0])
        np.testing.assert_array_equal(command.angular_rad_per_s, [4.0, 5.0, 6.0])
    end()
    before = len(heard)
    peer.say((1, 2, 3, 4, 5, 6), sequence=last + 9)
    time.sleep(0.2)
    assert len(heard) == before


def texts(peer: Peer, topic: str) -> list[dict[str, Any]]:
    """Return what was said on a topic, read as plain CDR."""
    found = []
    for data, _ in peer.heard.get(f"7/{topic}/std_msgs::msg::dds_::String_/{TEXT_HASH}", []):
        (length,) = struct.unpack_from("<I", data, 4)
        found.append(json.loads(data[8 : 8 + length - 1]))
    return found


def test_ros_sees_a_fleet_asks_it_and_stops_it(tmp_path: Path) -> None:
    """Through ``loopwright robot ros2``, a process of its own, as its users start it."""
    with open_fleet(tmp_path) as fleet:
        (tmp_path / "tokens.json").replace(fleet.site.tokens)
        fleet.site.write_address(fleet.server.url)
        fleet.runner.lasts_s = 60.0
        peer = Peer()
        command = [sys.executable, "-m", "loopwright", "robot", "ros2", "--folder", str(tmp_path)]
        where = ["--connect", peer.endpoint, "--domain", "7", "--operate"]
        with subprocess.Popen([*command, *where]) as process:
            try:
                until(lambda: texts(peer, "loopwright/robots"))
                (robot,) = texts(peer, "loopwright/robots")[-1]["robots"]
                assert (robot["name"], robot["stopped"]) == ("r1", False)
                until(lambda: [t for t in peer.tokens if "loopwright%ask" in t and "/MS/" in t])
                peer.tell("loopwright/ask", "ring north", sequence=1)
                until(lambda: texts(peer, "loopwright/asked"))
                (asked,) = texts(peer, "loopwright/asked")
                assert fleet.coordinator.task(asked["task"]).instruction == "ring north"
                until(lambda: fleet.runner.orders)
                peer.tell("loopwright/stop", "r7", sequence=1)
                until(lambda: len(texts(peer, "loopwright/asked")) == 2)
                assert "did you mean" in texts(peer, "loopwright/asked")[-1]["refused"]
                assert not fleet.runner.latched
                peer.tell("loopwright/stop", "", sequence=2)
                until(lambda: fleet.runner.latched)
                events = "loopwright/events"
                until(lambda: "stop-pressed" in {e["kind"] for e in texts(peer, events)})
                assert [key for key in peer.heard if key.startswith("7/tf/tf2_msgs::msg::dds_::TF")]
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(20.0)
        peer.session.close()


@pytest.mark.parametrize("role", ["observe", "train", "resume"])
def test_a_bridge_that_may_not_operate_is_not_steered(peer: Peer, role: str) -> None:
    bridge = bridge_to(peer, role)
    try:
        with pytest.raises(NotAllowedHere):
            bridge.on_velocity("/base/cmd_vel", lambda _: None)
        bridge.publisher("/status", TEXT).publish(bridge.text("I may tell"))
    finally:
        bridge.close()
    with pytest.raises(NotAllowedHere):
        RosBridge(RosSettings(connect=(peer.endpoint,)), ACCESS, "unknown")


@given(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1), st.binary(min_size=16, max_size=16))
def test_attachments_of_both_layouts_are_read(sequence: int, time_ns: int, gid: bytes) -> None:
    attachment = Attachment(sequence, time_ns, gid)
    assert Attachment.from_bytes(attachment.to_bytes()) == attachment
    named = (
        b"\x0fsequence_number"
        + struct.pack("<q", sequence)
        + b"\x10source_timestamp"
        + struct.pack("<q", time_ns)
        + b"\x0asource_gid\x10"
        + gid
    )
    assert Attachment.from_bytes(named) == attachment


@given(st.binary(max_size=100))
def test_noise_beside_a_message_is_refused_or_read(data: bytes) -> None:
    try:
        Attachment.from_bytes(data)
    except NotFromRos:
        assert len(data) != 33 or data[16] != 16


def test_names_are_those_of_the_design_document() -> None:
    topic = Topic(domain=2, name="/chatter", type_name="std_msgs/msg/String", type_hash=TEXT_HASH)
    assert topic.key == f"2/chatter/std_msgs::msg::dds_::String_/{TEXT_HASH}"
    node = Node(domain=2, session="8b20917502ee955ac4476e0266340d5c", name="talker")
    assert node.token("MP", 10, topic, depth=7) == (
        "@ros2_lv/2/8b20917502ee955ac4476e0266340d5c/0/10/MP/%/%/talker/%chatter/"
        f"std_msgs::msg::dds_::String_/{TEXT_HASH}/::,7:,:,:,,"
    )
    with pytest.raises(InvalidConfig):
        RosSettings(domain=233)
    with pytest.raises(InvalidConfig, match="beyond this machine"):
        RosSettings(connect=("tcp/10.0.0.7:7447",))
