"""A bus between processes and machines, over Zenoh; no broker, and nothing found by shouting.

Peers listen on an explicit endpoint, by default on this machine only, and come to know each other
through the one that they connect to. Whoever does not know the fleet's secret gets no connection
(Zenoh's user and password, derived from it). Who knows it may listen; to be heard takes a key, and
every frame is checked for whether it is that key's to say (:mod:`loopwright.robot.wires.sealing`).
What travels is not encrypted: on a network that is not yours alone, lay it in a tunnel.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.errors import InvalidConfig, MissingExtra
from loopwright.robot import messages as say
from loopwright.robot.bus import Failures, Hear, Subscription
from loopwright.robot.wires.membership import Membership, check_name
from loopwright.robot.wires.sealing import Rejected, Sealer, Unsealer
from loopwright.robot.wires.secret import FleetSecret

if TYPE_CHECKING:
    import zenoh

_log = logging.getLogger(__name__)

ANY_LOOPBACK_PORT = "tcp/127.0.0.1:0"
"""Where a peer listens that nobody needs to know beforehand."""
WAITING_FRAMES = 10_000
"""So many frames may wait for a slow subscriber; what comes then is dropped and counted."""
UNTIL_THEY_ARE_THERE: Mapping[str, object] = {
    "connect/timeout_ms": -1,
    "connect/exit_on_failure": False,
    "connect/retry": {
        "period_init_ms": 100,
        "period_max_ms": 1000,
        "period_increase_factor": 2,
    },
}
"""Settings of Zenoh: those who are not there yet, or no longer, are tried again and again (-1: for
ever; 0 would mean once), in the background."""

_ENDPOINT = re.compile(r"tcp/(?P<host>\[[0-9a-fA-F:]+\]|[\w.-]+):(?P<port>\d{1,5})")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_TOPIC = re.compile(r"[\w.-]+(/[\w.-]+)*")
_ALIVE = "loopwright/alive"

Noticed = Callable[[str, bool], None]
"""Told the name of a peer, and whether it came (True) or went (False)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ZenohSettings:
    """Where a peer is, and whom it knows."""

    name: str
    """What others see come and go. A hint: who speaks is known by the key."""
    listen: str = ANY_LOOPBACK_PORT
    connect: tuple[str, ...] = ()
    """Endpoints of peers; they need not be there yet."""
    beyond_loopback: bool = False
    """Whether endpoints of other machines are meant."""
    gossip: bool = True
    """Whether peers tell each other of third ones; if not, only ``connect`` joins them."""

    def __post_init__(self) -> None:
        """Refuse names and endpoints that are none, and other machines unless they are meant."""
        check_name(self.name)
        check_endpoints(self.listen, *self.connect, beyond_loopback=self.beyond_loopback)


def check_endpoints(*endpoints: str, beyond_loopback: bool) -> None:
    """Refuse what is no endpoint, and other machines unless they are meant.

    Raises:
        InvalidConfig: One is neither.
    """
    for endpoint in endpoints:
        match = _ENDPOINT.fullmatch(endpoint)
        if not match or int(match["port"]) > 65535:
            raise InvalidConfig(f"{endpoint!r} is no endpoint such as 'tcp/127.0.0.1:7447'")
        if match["host"] not in _LOOPBACK and not beyond_loopback:
            raise InvalidConfig(
                f"{endpoint!r} is beyond this machine; set beyond_loopback=True if that is "
                "meant, and mind that what travels is not encrypted"
            )


class ZenohBus:
    """A :class:`~loopwright.robot.bus.Bus` whose subscribers may be other processes."""

    def __init__(self, settings: ZenohSettings, membership: Membership) -> None:
        """Come onto the bus.

        Args:
            settings: Where.
            membership: As whom, and whom it believes.

        Raises:
            InvalidConfig: The endpoint cannot be listened on.
            Untrusted: A key of the process is not on its ring, so nobody would hear it.
            MissingExtra: Zenoh is not installed.
        """
        self._zenoh = _library()
        self._ring, self._sealer = membership.ring, Sealer(membership)
        self._session = _opened(self._zenoh, settings, membership.secret)
        self._lock = threading.Lock()
        self._ears: set[_Ear] = set()
        self._dropped: Counter[str] = Counter()
        self._failures = Failures()
        self._closed = False
        self._token = self._session.liveliness().declare_token(
            f"{_ALIVE}/{settings.name}/{self._sealer.life}"
        )

    def publish(self, topic: str, message: say.Message) -> None:
        """Send a message; returns at once, whoever is slow or gone.

        Raises:
            Untrusted: This is an observer, without a key to speak with.
        """
        # A stop overtakes what waits; what it overtook is then dropped by the receivers.
        urgent = isinstance(message, (say.Stop, say.Release))
        priority = self._zenoh.Priority
        with self._lock:
            if self._closed:
                return
            try:
                self._session.put(
                    _key(topic),
                    self._sealer.seal(topic, message),
                    congestion_control=self._zenoh.CongestionControl.DROP,
                    priority=priority.REAL_TIME if urgent else priority.DATA,
                )
            except self._zenoh.ZError:
                self._dropped["unsent"] += 1

    def subscribe(self, topic: str, hear: Hear) -> Subscription:
        """Call ``hear`` with every message on a topic, in a thread of its own."""
        ear = _Ear(topic, hear, Unsealer(self._ring, topic), self._dropped, self._failures)
        subscriber = self._session.declare_subscriber(_key(topic), ear.arrived)
        with self._lock:
            self._ears.add(ear)

        def end() -> None:
            ear.end()
            with self._lock:
                known = ear in self._ears
                self._ears.discard(ear)
                open_ = not self._closed
            if known and open_:
                subscriber.undeclare()

        return Subscription(end, ear.is_alive)

    def watch(self, noticed: Noticed) -> Callable[[], None]:
        """Tell at once who comes and who goes, a killed process included; returns how to end that.

        A hint, not a proof: only the pulses say that a robot is well.
        """

        def changed(sample: zenoh.Sample) -> None:
            name = str(sample.key_expr).split("/")[-2]
            noticed(name, sample.kind == self._zenoh.SampleKind.PUT)

        watcher = self._session.liveliness().declare_subscriber(
            f"{_ALIVE}/*/*", changed, history=True
        )
        return watcher.undeclare

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many frames were not heard, by why.

        ``forged``, ``stale``, ``replayed``, ``malformed`` and ``not-allowed`` as in sealing;
        ``overrun``: a subscriber here was too slow; ``unsent``: Zenoh refused to send.
        """
        return dict(self._dropped)

    @property
    def failures(self) -> Mapping[str, int]:
        """Topic to how often a subscriber failed at a message."""
        return self._failures.counts

    @property
    def unheard(self) -> Mapping[str, int]:
        """How many frames were dropped, by why, and how many a subscriber failed at."""
        return self._failures.unheard(self.dropped)

    def close(self) -> None:
        """Leave the bus; idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            ears, self._ears = self._ears, set()
        for ear in ears:
            ear.end()
        self._session.close()  # pyright: ignore[reportAttributeAccessIssue]


class _Ear:
    """One subscription: frames wait here for the thread that opens and hears them."""

    def __init__(
        self,
        topic: str,
        hear: Hear,
        unsealer: Unsealer,
        dropped: Counter[str],
        failures: Failures,
    ) -> None:
        self._topic, self._hear, self._unsealer = topic, hear, unsealer
        self._dropped, self._failures = dropped, failures
        self._frames: queue.Queue[tuple[float, bytes] | None] = queue.Queue(WAITING_FRAMES)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"bus {topic}", daemon=True)
        self._thread.start()

    def arrived(self, sample: zenoh.Sample) -> None:
        try:
            self._frames.put_nowait((time.time(), sample.payload.to_bytes()))
        except queue.Full:
            self._dropped["overrun"] += 1

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> None:
        self._ended.set()
        try:
            self._frames.put_nowait(None)
        except queue.Full:
            return  # then the thread is awake anyway

    def _listen(self) -> None:
        while (waiting := self._frames.get()) is not None and not self._ended.is_set():
            with self._failures.noted(self._topic):
                self._open(*waiting)

    def _open(self, arrived_s: float, frame: bytes) -> None:
        try:
            message = self._unsealer.open(frame, arrived_s=arrived_s)
        except Rejected as error:
            self._dropped[error.flaw] += 1
            count = self._dropped[error.flaw]
            if count & (count - 1) == 0:  # the 1st, 2nd, 4th, ...: a log that nobody reads fills
                _log.warning("%s, %d by now; this one: %.300s", error.flaw, count, error)
        else:
            self._hear(message)


def _key(topic: str) -> str:
    if not _TOPIC.fullmatch(topic):
        raise InvalidConfig(f"{topic!r} is no topic; words of letters, digits, '_.-' between '/'")
    return f"loopwright/{topic}"


def _library():
    try:
        import zenoh
    except ModuleNotFoundError as error:
        raise MissingExtra("eclipse-zenoh", "robot", "a bus between processes") from error
    return zenoh


def _opened(library, settings: ZenohSettings, secret: FleetSecret) -> zenoh.Session:
    password = secret.derived("transport").hex()
    # Zenoh reads the passwords it accepts from a file, once, when the session opens.
    with tempfile.TemporaryDirectory() as folder:
        accepted = Path(folder) / "accepted"
        handle = os.open(accepted, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(f"fleet:{password}\n")
        config = library.Config()
        for path, value in {
            "mode": "peer",
            "listen/endpoints": [settings.listen],
            "connect/endpoints": list(settings.connect),
            **UNTIL_THEY_ARE_THERE,
            "scouting/multicast/enabled": False,
            # Whoever is connected tells of whom else it knows.
            "scouting/gossip/enabled": settings.gossip,
            # Of two who hear of each other one connects. Where both do ("always"), each may give
            # up its own for the sake of the other's, and they never meet: 9 of 40 pairs did not.
            "scouting/gossip/autoconnect_strategy": {
                "peer": {"to_router": "always", "to_peer": "greater-zid"}
            },
            "transport/auth/usrpwd/user": "fleet",
            "transport/auth/usrpwd/password": password,
            "transport/auth/usrpwd/dictionary_file": str(accepted),
            "transport/link/tx/queue/size/data": 16,
            # Microseconds that a full queue (a peer that hangs) may hold up whoever publishes.
            "transport/link/tx/queue/congestion_control/drop/wait_before_drop": 100,
        }.items():
            config.insert_json5(path, json.dumps(value))
        try:
            return library.open(config)
        except library.ZError as error:
            raise InvalidConfig(f"cannot listen on {settings.listen}: {error}") from error
