"""Sealed messages: who said it, in which order and when, under an HMAC of the fleet's secret.

A frame is 32 bytes of HMAC-SHA256 and the canonical JSON that they cover: sender, life (another
one after every start), topic, counter, wall clock and message. A receiver drops what is forged,
older than :data:`FRESH_S`, or not newer than what it has heard of that life on that topic. What it
no longer remembers of a life is older than :data:`FRESH_S`, so a recording is never heard twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Literal

from loopwright.core.digest import canonical_json
from loopwright.core.errors import Untrusted
from loopwright.robot.messages import MalformedMessage, Message, message_from_json
from loopwright.robot.wires.secret import FleetSecret

FRESH_S = 3.0
"""How far the clock of a sender may be from that of a receiver, the way of the message included.
Shorter than the lease of a robot's work: no order is heard after it was given to another."""

Flaw = Literal["forged", "stale", "replayed", "malformed"]
_MAC_BYTES = hashlib.sha256().digest_size


class Rejected(Untrusted):
    """A frame that is not heard, and why."""

    def __init__(self, flaw: Flaw, message: str) -> None:
        """Keep the flaw, for whoever counts."""
        super().__init__(message)
        self.flaw: Flaw = flaw


class Sealer:
    """Seals the messages of one sender; for use under a lock of the caller."""

    def __init__(
        self, secret: FleetSecret, sender: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Begin a life of a sender."""
        self.sender, self.life = sender, uuid.uuid4().hex
        self._key, self._clock = secret.derived("messages"), clock
        self._counts: Counter[str] = Counter()

    def seal(self, topic: str, message: Message) -> bytes:
        """Return the next frame on a topic.

        Raises:
            ValueError: The message holds what is no plain data (NaN, a key that is no string).
        """
        body = canonical_json(
            {
                "sender": self.sender,
                "life": self.life,
                "topic": topic,
                "count": self._counts[topic] + 1,
                "time_s": self._clock(),
                "message": message.to_json(),
            }
        )
        self._counts[topic] += 1
        return hmac.digest(self._key, body, hashlib.sha256) + body


class Unsealer:
    """Opens the frames of one topic; for use in one thread."""

    def __init__(self, secret: FleetSecret, topic: str) -> None:
        """Remember nothing yet."""
        self._key, self._topic = secret.derived("messages"), topic
        self._newest: dict[str, tuple[int, float]] = {}
        self._forgot_s = 0.0

    def open(self, frame: bytes, *, arrived_s: float) -> tuple[str, Message]:
        """Return the sender and the message of a frame.

        Args:
            frame: As it came.
            arrived_s: When, by the wall clock.

        Raises:
            Rejected: It is forged, stale, heard before, or no message of ours.
        """
        mac, body = frame[:_MAC_BYTES], frame[_MAC_BYTES:]
        if not hmac.compare_digest(mac, hmac.digest(self._key, body, hashlib.sha256)):
            raise Rejected("forged", f"a frame on {self._topic!r} is not sealed by this fleet")
        sealed = json.loads(body)
        sender, life, count, time_s = (sealed[k] for k in ("sender", "life", "count", "time_s"))
        if sealed["topic"] != self._topic:
            raise Rejected("forged", f"{sender!r} said this on {sealed['topic']!r}, not here")
        if abs(arrived_s - time_s) > FRESH_S:
            raise Rejected(
                "stale",
                f"a frame of {sender!r} is {arrived_s - time_s:.1f} s old, at most {FRESH_S:g} s "
                "are allowed; is one of the clocks wrong?",
            )
        self._forget(arrived_s)
        if count <= self._newest.get(life, (0, 0.0))[0]:
            raise Rejected("replayed", f"frame {count} of {sender!r} was overtaken or heard before")
        self._newest[life] = (count, time_s)
        try:
            return sender, message_from_json(sealed["message"])
        except MalformedMessage as error:
            raise Rejected("malformed", f"{sender!r}: {error}") from error

    def _forget(self, now_s: float) -> None:
        """Forget lives whose frames would all be stale by now, once in a while."""
        if abs(now_s - self._forgot_s) > FRESH_S:
            self._forgot_s = now_s
            self._newest = {
                life: seen for life, seen in self._newest.items() if abs(now_s - seen[1]) <= FRESH_S
            }
