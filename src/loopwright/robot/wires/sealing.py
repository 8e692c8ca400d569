"""Sealed messages: who said it, in which order and when, under the sender's own signature.

A frame is the id of an Ed25519 key, its signature, and the canonical JSON that this covers: life
(another one after every start), topic, counter, wall clock and message. A receiver drops what is
forged, older than :data:`FRESH_S`, not newer than what it has heard of that life on that topic, or
not the sender's to say (:mod:`loopwright.robot.wires.rights`). What it no longer remembers of a
life is older than :data:`FRESH_S`, so a recording is never heard twice.
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from loopwright.core.digest import canonical_json
from loopwright.core.errors import Untrusted
from loopwright.robot.messages import MalformedMessage, Message, message_from_json
from loopwright.robot.wires.membership import Membership
from loopwright.robot.wires.rights import may_say, reporter
from loopwright.safety.keys import KeyRing

FRESH_S = 3.0
"""How far the clock of a sender may be from that of a receiver, the way of the message included.
Shorter than the lease of a robot's work: no order is heard after it was given to another."""

Flaw = Literal["forged", "stale", "replayed", "malformed", "not-allowed"]
_ID_BYTES, _SIGNATURE_BYTES = 8, 64
_PURPOSE = b"loopwright bus\n"
"""Signed with every frame, so that no signature of a key means something else elsewhere."""


class Rejected(Untrusted):
    """A frame that is not heard, and why."""

    def __init__(self, flaw: Flaw, message: str) -> None:
        """Keep the flaw, for whoever counts."""
        super().__init__(message)
        self.flaw: Flaw = flaw


class Sealer:
    """Seals what one process says; for use under a lock of the caller."""

    def __init__(self, membership: Membership, *, clock: Callable[[], float] = time.time) -> None:
        """Begin a life.

        Raises:
            Untrusted: One of its keys is not on the ring.
        """
        self._keys = {membership.ring.holder(key.id).person: key for key in membership.keys}
        self._own = next(iter(self._keys.values()), None)
        self.life, self._clock = uuid.uuid4().hex, clock
        self._counts: Counter[str] = Counter()

    def seal(self, topic: str, message: Message) -> bytes:
        """Return the next frame on a topic.

        Raises:
            Untrusted: There is no key to sign with: this is an observer.
            ValueError: The message holds what is no plain data (NaN, a key that is no string).
        """
        key = self._keys.get(reporter(message) or "", self._own)
        if key is None:
            raise Untrusted(f"a {message.KIND!r} of an observer; who speaks on the bus needs a key")
        body = canonical_json(
            {
                "life": self.life,
                "topic": topic,
                "count": self._counts[topic] + 1,
                "time_s": self._clock(),
                "message": message.to_json(),
            }
        )
        self._counts[topic] += 1
        return bytes.fromhex(key.id) + key.sign(_PURPOSE + body) + body


class Unsealer:
    """Opens the frames of one topic; for use in one thread."""

    def __init__(self, ring: KeyRing, topic: str) -> None:
        """Remember nothing yet."""
        self._ring, self._topic = ring, topic
        self._newest: dict[tuple[str, str], tuple[int, float]] = {}
        self._forgot_s = 0.0

    def open(self, frame: bytes, *, arrived_s: float) -> Message:
        """Return the message of a frame.

        Args:
            frame: As it came.
            arrived_s: When, by the wall clock.

        Raises:
            Rejected: It is forged, stale, heard before, no message of ours, or not its sender's.
        """
        identity, signature, body = _split(frame)
        try:
            holder = self._ring.check(identity, _PURPOSE + body, signature)
        except Untrusted as error:
            raise Rejected("forged", f"a frame on {self._topic!r}: {error}") from error
        sealed = _read(body, holder.person)
        if sealed.topic != self._topic:
            raise Rejected("forged", f"{holder.person!r} said this on {sealed.topic!r}, not here")
        self._refuse_old((identity, sealed.life), sealed, holder.person, arrived_s)
        try:
            message = message_from_json(sealed.message)
        except MalformedMessage as error:
            raise Rejected("malformed", f"{holder.person!r}: {error}") from error
        if not may_say(holder, message):
            roles = ", ".join(sorted(holder.roles))
            what = f"a {message.KIND!r} in the name of {reporter(message) or 'the coordinator'!r}"
            raise Rejected("not-allowed", f"{what}, by {holder.person!r} ({roles})")
        return message

    def _refuse_old(
        self, speaker: tuple[str, str], sealed: _Sealed, person: str, arrived_s: float
    ) -> None:
        """Refuse what is stale or was heard before.

        A speaker is a key *and* a life: nobody can use up the counter of another.
        """
        if not abs(arrived_s - sealed.time_s) <= FRESH_S:
            raise Rejected(
                "stale",
                f"a frame of {person!r} is {arrived_s - sealed.time_s:.1f} s old, at most "
                f"{FRESH_S:g} s are allowed; is one of the clocks wrong?",
            )
        self._forget(arrived_s)
        if sealed.count <= self._newest.get(speaker, (0, 0.0))[0]:
            raise Rejected(
                "replayed", f"frame {sealed.count} of {person!r} was overtaken or heard before"
            )
        self._newest[speaker] = (sealed.count, sealed.time_s)

    def _forget(self, now_s: float) -> None:
        """Forget lives whose frames would all be stale by now, once in a while."""
        if abs(now_s - self._forgot_s) > FRESH_S:
            self._forgot_s = now_s
            self._newest = {
                speaker: seen
                for speaker, seen in self._newest.items()
                if abs(now_s - seen[1]) <= FRESH_S
            }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sealed:
    """What a signature covers."""

    life: str
    topic: str
    count: int
    time_s: float
    message: object


def _split(frame: bytes) -> tuple[str, bytes, bytes]:
    """Return the id of the key, the signature and the body; of too short a frame, pieces."""
    begins = _ID_BYTES + _SIGNATURE_BYTES
    return frame[:_ID_BYTES].hex(), frame[_ID_BYTES:begins], frame[begins:]


def _read(body: bytes, person: str) -> _Sealed:
    """Read what somebody has signed, who may have signed anything."""
    try:
        plain = json.loads(body)
        return _Sealed(
            life=str(plain["life"]),
            topic=str(plain["topic"]),
            count=int(plain["count"]),
            time_s=float(plain["time_s"]),
            message=plain["message"],
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Rejected("malformed", f"{person!r} has sealed no message: {error}") from error
