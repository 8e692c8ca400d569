"""The bus over Zenoh between real processes: order, loss, strangers, and who dies."""

from __future__ import annotations

import json
import os
import queue
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

from loopwright.core.errors import InvalidConfig
from loopwright.robot import messages as say
from loopwright.robot.coordinator.coordinator import SILENCE_S, Coordinator
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.journal.journal import Journal
from loopwright.robot.wires.secret import FleetSecret

zenoh = pytest.importorskip("zenoh")

from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings  # noqa: E402

SECRET = FleetSecret(bytes(range(32)))
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
    """A bus in this process, and peers in others around it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.endpoint, self._stack, self._folder = free_endpoint(), stack, folder
        self.bus = ZenohBus(ZenohSettings(name="hub", listen=self.endpoint), SECRET)
        stack.callback(self.bus.close)
        self.present: set[str] = set()
        self.bus.watch(lambda n, came: (self.present.add if came else self.present.discard)(n))

    def start(self, role: str, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PEER), role, name, self.endpoint, SECRET.key.hex()]
        process = subprocess.Popen([*command, str(self._folder)])
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        until(lambda: name in self.present)
        return process

    def join(self, name: str) -> ZenohBus:
        bus = ZenohBus(ZenohSettings(name=name, connect=(self.endpoint,)), SECRET)
        self._stack.callback(bus.close)
        until(lambda: name in self.present)
        return bus


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
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
    with ExitStack() as stack:
        early = ZenohBus(ZenohSettings(name="early", connect=(endpoint,)), SECRET)
        stack.callback(early.close)
        time.sleep(0.5)
        for _ in range(2):
            hub = ZenohBus(ZenohSettings(name="hub", listen=endpoint), SECRET)
            stack.callback(hub.close)
            heard: list[say.Message] = []
            hub.subscribe(say.REPORTS, heard.append)
            until(lambda: early.publish(say.REPORTS, say.Stop(by="early")) or heard)  # noqa: B023
            hub.close()


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
    # A traitor on the transport, who records and has no key for messages.
    traitor = _raw_session(place.endpoint, SECRET.derived("transport").hex())
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
    assert len(heard) == said


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
        ZenohBus(ZenohSettings(name="second", listen=place.endpoint), SECRET)
    bus = place.join("third")
    end = bus.subscribe(say.REPORTS, lambda _: None)
    bus.close()
    bus.close()
    end()
    bus.publish(say.REPORTS, say.Stop(by="third"))
    assert os.getpid()  # the library has not taken the process with it
