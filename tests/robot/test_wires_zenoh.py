"""The bus over Zenoh between real processes: order, loss, strangers, and who dies."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from toy_robots import ToyBrain, ToyMemory

from loopwright.core.errors import InvalidConfig, Untrusted
from loopwright.robot import messages as say
from loopwright.robot.coordinator.coordinator import SILENCE_S, Coordinator
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.journal.journal import Journal
from loopwright.robot.wires.membership import Membership, enrol

zenoh = pytest.importorskip("zenoh")

from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings  # noqa: E402

PEER = Path(__file__).with_name("wires_peer.py")


def free_endpoint() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{taken.getsockname()[1]}"


def until(true: Callable[[], object], within_s: float = 15.0) -> None:
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.01)


class Place:
    """The coordinator's bus in this process, and peers in others around it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.endpoint, self._stack, self.folder = free_endpoint(), stack, folder
        enrol(folder, "coordinator", "coordinator")
        self.bus = ZenohBus(
            ZenohSettings(name="hub", listen=self.endpoint), Membership.read(folder, "coordinator")
        )
        stack.callback(self.bus.close)
        self.present: set[str] = set()
        self.bus.watch(lambda n, came: (self.present.add if came else self.present.discard)(n))

    def start(self, role: str, name: str, folder: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a robot, by default with what the folder of all has for it."""
        command = [sys.executable, str(PEER), role, name, self.endpoint]
        process = subprocess.Popen([*command, str(folder or self.folder)])
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        until(lambda: name in self.present)
        return process

    def join(self, name: str) -> ZenohBus:
        """Return the bus of another robot, in this process."""
        settings = ZenohSettings(name=name, connect=(self.endpoint,))
        bus = ZenohBus(settings, Membership.read(self.folder, name))
        self._stack.callback(bus.close)
        until(lambda: name in self.present)
        return bus


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # All whom a test starts; each knows those who are on the ring when it starts.
    enrol(tmp_path, "robot", "friend", "slow", "quick", "third", *(f"r{n}" for n in range(1, 7)))
    with ExitStack() as stack:
        yield Place(stack, tmp_path)


def test_a_question_goes_to_another_process_and_back(place: Place) -> None:
    place.start("echo", "r1")
    answers: queue.SimpleQueue[say.Message] = queue.SimpleQueue()
    place.bus.subscribe(say.REPORTS, answers.put)
    until(lambda: _asked(place.bus, answers, "first", 0.1))
    while not answers.empty():
        answers.get()
    trips_s = []
    for number in range(300):
        began_s = time.perf_counter()
        assert _asked(place.bus, answers, f"i-{number}", 5.0)
        trips_s.append(time.perf_counter() - began_s)
    assert statistics.median(trips_s) < 0.05


def _asked(
    bus: ZenohBus, answers: queue.SimpleQueue[say.Message], intent: str, timeout_s: float
) -> bool:
    bus.publish(say.orders_to("r1"), say.Inquire(coordinator_epoch=1, intent=intent))
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        return False
    return isinstance(answer, say.Standing) and answer.intent == intent


def test_a_robot_killed_in_its_work_is_lost_and_another_does_it(
    place: Place, tmp_path: Path
) -> None:
    coordinator = Coordinator(
        journal=Journal(tmp_path / "journal.db"),
        memory=ToyMemory(),
        brain=ToyBrain(),
        bus=place.bus,
        rules=Rules(patience_s=0.5, grace_s=0.5),
    )
    coordinator.start()
    try:
        first = place.start("slow-robot", "r1")
        until(lambda: coordinator.look_at(lambda s: "r1" in s.robots))
        task = coordinator.ask("ring north", by="test")
        until(lambda: any(i.started for i in coordinator.task(task).intents))
        place.start("robot", "r2")
        until(lambda: coordinator.look_at(lambda s: "r2" in s.robots))
        first.send_signal(signal.SIGKILL)
        killed_s = time.monotonic()
        until(lambda: "r1" not in place.present)
        assert time.monotonic() - killed_s < SILENCE_S, "it is noticed before the pulse is missed"
        ended = coordinator.wait(task, timeout_s=20.0)
    finally:
        coordinator.close()
    # On a busy machine the first gave up for lack of time before it was killed, and began again.
    *earlier, last = ended.intents
    assert {i.robot for i in earlier} == {"r1"}
    assert (last.robot, ended.outcome) == ("r2", "succeeded")
    assert "lost" in earlier[-1].reason


def test_whom_it_connects_to_may_come_later_and_come_again(tmp_path: Path) -> None:
    endpoint = free_endpoint()
    enrol(tmp_path, "coordinator", "coordinator")
    enrol(tmp_path, "robot", "early")
    with ExitStack() as stack:
        settings = ZenohSettings(name="early", connect=(endpoint,))
        early = ZenohBus(settings, Membership.read(tmp_path, "early"))
        stack.callback(early.close)
        time.sleep(0.5)
        for _ in range(2):
            settings = ZenohSettings(name="hub", listen=endpoint)
            hub = ZenohBus(settings, Membership.read(tmp_path, "coordinator"))
            stack.callback(hub.close)
            heard: list[say.Message] = []
            hub.subscribe(say.REPORTS, heard.append)
            until(lambda: early.publish(say.REPORTS, say.Stop(by="early")) or heard)  # noqa: B023
            hub.close()


def test_whoever_fails_at_a_message_hears_the_next(place: Place) -> None:
    heard: list[say.Message] = []

    def hear(message: say.Message) -> None:
        heard.append(message)
        raise OSError("serial port hiccup")

    listening = place.bus.subscribe(say.REPORTS, hear)
    friend = place.join("friend")
    until(lambda: friend.publish(say.REPORTS, say.Stop(by="friend")) or len(heard) > 1)
    until(lambda: place.bus.failures == {say.REPORTS: len(heard)})
    assert listening.is_alive()
    listening()
    until(lambda: not listening.is_alive())


def test_a_peer_that_hangs_or_is_slow_holds_nobody_up_and_order_is_kept(place: Place) -> None:
    hanging = place.start("echo", "r1")
    slow, quick = place.join("slow"), place.join("quick")
    heard: list[int] = []
    slow.subscribe(say.COORDINATOR, lambda _: time.sleep(60.0))
    quick.subscribe(say.COORDINATOR, lambda m: heard.append(m.epoch))  # type: ignore[attr-defined]
    place.bus.subscribe(say.orders_to("r1"), lambda _: None)
    until(lambda: _reaches(place.bus, heard))
    hanging.send_signal(signal.SIGSTOP)
    try:
        slowest_s = 0.0
        for number in range(1, 1001):
            began_s = time.perf_counter()
            place.bus.publish(say.orders_to("r1"), say.Stop(by="x" * 20_000))
            place.bus.publish(say.COORDINATOR, say.CoordinatorPulse(epoch=number))
            slowest_s = max(slowest_s, time.perf_counter() - began_s)
        until(lambda: heard[-1] == 1000)
    finally:
        hanging.send_signal(signal.SIGCONT)
    assert slowest_s < 1.0
    after = heard[heard.index(1) :]
    assert after == sorted(set(after))
    assert len(after) > 900


def _reaches(bus: ZenohBus, heard: list[int]) -> bool:
    bus.publish(say.COORDINATOR, say.CoordinatorPulse(epoch=0))
    return bool(heard)


def _raw_session(endpoint: str, password: str | None) -> object:
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("listen/endpoints", '["tcp/127.0.0.1:0"]')
    config.insert_json5("connect/endpoints", json.dumps([endpoint]))
    config.insert_json5("connect/timeout_ms", "0")
    config.insert_json5("connect/exit_on_failure", "false")
    if password is not None:
        config.insert_json5("transport/auth/usrpwd/user", '"fleet"')
        config.insert_json5("transport/auth/usrpwd/password", json.dumps(password))
    return zenoh.open(config)


@pytest.mark.parametrize("password", [None, "guessed"])
def test_a_stranger_hears_nothing_and_is_heard_by_nobody(
    place: Place, password: str | None
) -> None:
    stolen: list[bytes] = []
    heard: list[say.Message] = []
    place.bus.subscribe(say.REPORTS, heard.append)
    stranger = _raw_session(place.endpoint, password)
    try:
        stranger.declare_subscriber("**", lambda s: stolen.append(s.payload.to_bytes()))  # type: ignore[attr-defined]
        friend = place.join("friend")
        until(lambda: friend.publish(say.REPORTS, say.Stop(by="friend")) or heard)
        stranger.put("loopwright/fleet/reports", b"let me in")  # type: ignore[attr-defined]
        time.sleep(0.3)
    finally:
        stranger.close()  # type: ignore[attr-defined]
    assert {m.by for m in heard} == {"friend"}  # type: ignore[attr-defined]
    assert stolen == [b"let me in"], "what it said itself, and nothing else"
    assert place.bus.dropped == {}


def test_what_a_peer_forges_or_repeats_is_dropped_and_counted(place: Place) -> None:
    heard: list[say.Message] = []
    place.bus.subscribe(say.REPORTS, heard.append)
    # Somebody with the secret, who records and has no key.
    secret = Membership.read(place.folder).secret
    traitor = _raw_session(place.endpoint, secret.derived("transport").hex())
    try:
        taken: list[bytes] = []
        traitor.declare_subscriber("**", lambda s: taken.append(s.payload.to_bytes()))  # type: ignore[attr-defined]
        said = 0
        while not taken:
            place.bus.publish(say.REPORTS, say.Stop(by="hub"))
            said += 1
            time.sleep(0.01)
        until(lambda: len(heard) == said)
        for frame in (taken[0], b"x" * 100, taken[0][:-1] + b"?"):
            traitor.put("loopwright/fleet/reports", frame)  # type: ignore[attr-defined]
        until(lambda: sum(place.bus.dropped.values()) == 3)
    finally:
        traitor.close()  # type: ignore[attr-defined]
    assert place.bus.dropped == {"replayed": 1, "forged": 2}
    assert place.bus.unheard == place.bus.dropped
    assert len(heard) == said


def test_robots_meet_whom_only_the_coordinator_knows(place: Place) -> None:
    heard: set[str] = set()
    other = place.join("friend")
    other.subscribe(say.REPORTS, lambda m: heard.add(m.robot))  # type: ignore[attr-defined]
    names = {f"r{number}" for number in range(1, 7)}
    for name in sorted(names):
        place.start("echo", name)

    def all_are_heard() -> bool:
        for name in names:
            place.bus.publish(say.orders_to(name), say.Inquire(coordinator_epoch=1, intent="i"))
        return heard == names

    until(all_are_heard)


def test_a_robot_that_speaks_for_others_is_heard_only_in_its_own_name(place: Place) -> None:
    other = place.join("r2")
    orders: list[say.Message] = []
    reports: list[say.Message] = []
    for topic in (say.orders_to("r2"), say.ALL_ROBOTS, say.COORDINATOR):
        other.subscribe(topic, orders.append)
    place.bus.subscribe(say.REPORTS, reports.append)
    place.start("traitor", "r1")
    until(lambda: other.dropped.get("not-allowed", 0) >= 10)
    until(lambda: place.bus.dropped.get("not-allowed", 0) >= 10 and reports)
    assert orders == []
    assert {(m.KIND, m.robot) for m in reports} == {("robot-pulse", "r1")}  # type: ignore[attr-defined]
    assert {*place.bus.dropped, *other.dropped} == {"not-allowed"}


def test_a_key_that_is_not_on_the_ring_is_heard_by_nobody(place: Place, tmp_path: Path) -> None:
    heard: list[say.Message] = []
    place.bus.subscribe(say.REPORTS, heard.append)
    # It knows the secret and calls itself r1 and even the coordinator, on a ring of its own.
    own = tmp_path / "own"
    enrol(own, "robot", "r1")
    shutil.copy(tmp_path / "keys" / "bus.secret", own / "keys" / "bus.secret")
    place.start("traitor", "r1", own)
    until(lambda: place.bus.dropped.get("forged", 0) >= 10)
    assert heard == []
    assert {*place.bus.dropped} == {"forged"}


def test_an_observer_hears_everything_and_says_nothing(place: Place) -> None:
    settings = ZenohSettings(name="observer", connect=(place.endpoint,))
    observer = ZenohBus(settings, Membership.read(place.folder))
    heard: list[say.Message] = []
    try:
        observer.subscribe(say.COORDINATOR, heard.append)
        until(lambda: place.bus.publish(say.COORDINATOR, say.CoordinatorPulse(epoch=1)) or heard)
        with pytest.raises(Untrusted, match="needs a key"):
            observer.publish(say.REPORTS, say.Stop(by="observer"))
    finally:
        observer.close()


def test_only_this_machine_unless_another_is_meant() -> None:
    with pytest.raises(InvalidConfig, match="beyond this machine"):
        ZenohSettings(name="hub", listen="tcp/0.0.0.0:7447")
    with pytest.raises(InvalidConfig, match="beyond this machine"):
        ZenohSettings(name="hub", connect=("tcp/robot-7.example:7447",))
    ZenohSettings(name="hub", listen="tcp/10.0.0.1:7447", beyond_loopback=True)
    for wrong in ("udp/127.0.0.1:1", "tcp/127.0.0.1", "tcp/127.0.0.1:70000", ""):
        with pytest.raises(InvalidConfig, match="no endpoint"):
            ZenohSettings(name="hub", listen=wrong)
    with pytest.raises(InvalidConfig, match="names no peer"):
        ZenohSettings(name="a/**")


def test_a_taken_endpoint_is_said_and_a_closed_bus_is_silent(place: Place) -> None:
    with pytest.raises(InvalidConfig, match="in use"):
        ZenohBus(ZenohSettings(name="second", listen=place.endpoint), Membership.read(place.folder))
    bus = place.join("third")
    end = bus.subscribe(say.REPORTS, lambda _: None)
    bus.close()
    bus.close()
    end()
    bus.publish(say.REPORTS, say.Stop(by="third"))
    assert os.getpid()  # the library has not taken the process with it
