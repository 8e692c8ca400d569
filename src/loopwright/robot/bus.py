"""The bus: how messages travel. In one process by default; other wires keep the same promises.

A message is plain data. What one sender publishes on one topic arrives in that order, or not at
all; nobody may rely on more: who needs certainty asks again.
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from loopwright.robot.messages import Message, message_from_json

Hear = Callable[[Message], None]


class Bus(Protocol):
    """Publishes and subscribes by topic."""

    def publish(self, topic: str, message: Message) -> None:
        """Send a message; returns at once."""
        ...

    def subscribe(self, topic: str, hear: Hear) -> Callable[[], None]:
        """Call ``hear`` with every message on a topic, one at a time; returns how to end that."""
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

    def publish(self, topic: str, message: Message) -> None:
        """Send a message to whoever listens now."""
        plain = message.to_json()
        with self._lock:
            ears = list(self._ears.get(topic, ()))
        for ear in ears:
            ear.put(copy.deepcopy(plain))

    def subscribe(self, topic: str, hear: Hear) -> Callable[[], None]:
        """Call ``hear`` with every message on a topic, in a thread of its own."""
        ear: queue.SimpleQueue[dict | None] = queue.SimpleQueue()

        def listen() -> None:
            while (plain := ear.get()) is not None:
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

        return end

    def close(self) -> None:
        """End all subscriptions; idempotent."""
        with self._lock:
            ears = [ear for ears in self._ears.values() for ear in ears]
            self._ears.clear()
        for ear in ears:
            ear.put(None)
