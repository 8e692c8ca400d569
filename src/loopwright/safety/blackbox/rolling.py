"""One recorder, flight after flight, so that old ones can be moved away while the robot works.

The next flight is begun in another thread, for beginning one waits for the disk, and the step at
which it is there is the first that it holds. No step is in both, none is in neither. Each flight
names the one before it in its header, and the one after it in its last note: a flight that is
missing between two others is noticed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from loopwright.core.errors import LoopwrightError, RecorderLost
from loopwright.safety.blackbox.fields import StepFacts
from loopwright.safety.blackbox.header import NONE
from loopwright.safety.blackbox.recorder import BlackBox

CHANNEL: Final = "recorder"
"""Of the notes that say which flight follows, or that none could be begun."""
AGAIN_S: Final = 60.0
"""How long after a flight that could not be begun it is tried again."""


class RollingBlackBox:
    """Records into a flight for some time, then into the next. One thread steps; any may note."""

    def __init__(self, begin: Callable[[str], BlackBox], every_s: float) -> None:
        """Begin the first flight.

        Args:
            begin: Given the id of the flight before, or ``"none"``, begins one in a new file.
            every_s: How long a flight becomes, in seconds.

        Raises:
            RecorderLost: The first flight could not be begun.
        """
        self._begin, self._every_s = begin, every_s
        self._changing = threading.Lock()
        self._box = begin(NONE)
        self._due_s = time.monotonic() + every_s
        self._next: BlackBox | None = None
        self._failure: str | None = None
        self._worker: threading.Thread | None = None

    def step(self, facts: StepFacts) -> None:
        """Record a control step, before its command reaches the actuators.

        Raises:
            RecorderLost: It could not be recorded, or the flight before could not be closed. That
                the next one could not be begun is a note, and this one goes on.
        """
        with self._changing:
            before = self._take_over() if self._next is not None else None
            self._box.step(facts)
        if before is not None:
            self._work(lambda: self._retire(before))
        elif self._worker is not None and not self._worker.is_alive():
            self._look_at_work()
        if self._worker is None and self._next is None and time.monotonic() >= self._due_s:
            self._work(self._prepare)

    def note(self, channel: str, text: str) -> None:
        """Record an event in words.

        Raises:
            RecorderLost: It could not be recorded.
        """
        with self._changing:
            self._box.note(channel, text)

    def close(self) -> None:
        """End the flight in good order; idempotent.

        Raises:
            RecorderLost: A final head could not be stored.
        """
        if self._worker is not None:
            self._worker.join()
            self._worker = None
        if self._next is not None:
            self._next.close()  # begun, and nothing flown
            self._next = None
        self._box.close()
        if self._failure is not None:
            raise RecorderLost(self._failure)

    def _take_over(self) -> BlackBox:
        """Let the next flight be the present one; returns the one before."""
        assert self._next is not None
        self._box.note(CHANNEL, f"continued in {self._next.path.name}, {self._next.id}")
        before, self._box, self._next = self._box, self._next, None
        self._due_s = time.monotonic() + self._every_s
        return before

    def _prepare(self) -> None:
        try:
            self._next = self._begin(self._box.id)
        except LoopwrightError as error:
            self._due_s = time.monotonic() + AGAIN_S
            with suppress(RecorderLost):  # the next step says so
                self.note(CHANNEL, f"the next flight could not be begun, this one goes on: {error}")

    def _retire(self, before: BlackBox) -> None:
        try:
            before.close()
        except RecorderLost as error:
            self._failure = f"the flight {before.path} could not be closed: {error}"

    def _work(self, task: Callable[[], None]) -> None:
        self._worker = threading.Thread(target=task, name="next flight", daemon=True)
        self._worker.start()

    def _look_at_work(self) -> None:
        self._worker = None
        if self._failure is not None:
            raise RecorderLost(self._failure)
