"""The bus: how messages travel. In one process by default; other wires keep the same promises.

A message is plain data. What one sender publishes on one topic arrives in that order, or not at
all; nobody may rely on more: who needs certainty asks again. Whoever fails at a message is told of
by the log and by a count, and hears the next one.
"""

from __future__ import annotations

import copy
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from loopwright.robot.messages import Message, message_from_json

Hear = Callable[[Message], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a subscriber holds; calling it ends it."""

    end: Callable[[], None]
    is_alive: Callable[[], bool]
    """Whether what is said is still heard."""

    def __call__(self) -> None:
        """Hear nothing more; idempotent."""
        self.end()


class Failures:
    """Errors of those who heard something: an error must not make anybody deaf."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @contextmanager
    def noted(self, topic: str) -> Iterator[None]:
        """Count and log an error of the block, and go on after it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - drivers and plug-ins raise anything
            with self._lock:
                self._counts[topic] += 1
                count = self._counts[topic]
            if count & (count - 1) == 0:  # the 1st, 2nd, 4th, ...: a log that nobody reads fills
                _log.error("hearing %s failed, %d times by now", topic, count, exc_info=error)

    def unheard(self, dropped: Mapping[str, int] | None = None) -> Mapping[str, int]:
        """Return how often hearing failed on any topic, beside what was dropped before."""
        failed = sum(self.counts.values())
        return {**(dropped or {}), **({"failed": failed} if failed else {})}

    @property
    def counts(self) -> Mapping[str, int]:
        """Topic to how often hearing it failed."""
        with self._lock:
            return dict(self._counts)


class Bus(Protocol):
    """Publishes and subscribes by topic."""

    def publish(self, topic: str, message: Message) -> None:
        """Send a message; returns at once."""
        ...

    def subscribe(self, topic: str, hear: Hear) -> Subscription:
        """Call ``hear`` with every message on a topic, one at a time, whether it raises or not."""
        ...

    @property
    def unheard(self) -> Mapping[str, int]:
        """How many messages reached this place and were not heard, by why; ``failed``: an error."""
        ...

    def close(self) -> None:
        """Leave the bus; idempotent."""
        ...


class LocalBus:
    """A bus within one process; every subscriber hears in a thread of its own."""

    def __init__(self) -> None:
        """Start without subscribers."""
        self._lock = threading.Lock()
        self._ears: dict[str, list[queue.SimpleQueue[dict | None]]] = {}
        self._failures = Failures()

    def publish(self, topic: str, message: Message) -> None:
        """Send a message to whoever listens now."""
        plain = message.to_json()
        with self._lock:
            ears = list(self._ears.get(topic, ()))
        for ear in ears:
            ear.put(copy.deepcopy(plain))

    def subscribe(self, topic: str, hear: Hear) -> Subscription:
        """Call ``hear`` with every message on a topic, in a thread of its own."""
        ear: queue.SimpleQueue[dict | None] = queue.SimpleQueue()

        def listen() -> None:
            while (plain := ear.get()) is not None:
                with self._failures.noted(topic):
                    hear(message_from_json(plain))

        thread = threading.Thread(target=listen, name=f"bus {topic}", daemon=True)
        with self._lock:
            self._ears.setdefault(topic, []).append(ear)
        thread.start()

        def end() -> None:
            with self._lock:
                if ear in self._ears.get(topic, ()):
                    self._ears[topic].remove(ear)
            ear.put(None)

        return Subscription(end, thread.is_alive)

    @property
    def failures(self) -> Mapping[str, int]:
        """Topic to how often a subscriber failed at a message."""
        return self._failures.counts

    @property
    def unheard(self) -> Mapping[str, int]:
        """How many messages a subscriber failed at."""
        return self._failures.unheard()

    def close(self) -> None:
        """End all subscriptions; idempotent."""
        with self._lock:
            ears = [ear for ears in self._ears.values() for ear in ears]
            self._ears.clear()
        for ear in ears:
            ear.put(None)
