"""One thread does the work of all requests: a step of each in turn.

Requests that come together share the thread token by token, so a short one never waits behind a
long one; and what one request is answered does not depend on which others are there, which
computing them as one batch would change in the last bits and, sooner or later, in the words.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Generic, TypeVar

from loopwright.core.errors import LoopwrightError
from loopwright.models.deploy.serve.refusal import Refused

T = TypeVar("T")
_log = logging.getLogger("loopwright.serve")


class Busy(Refused):
    """As many requests wait as may wait."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        """Say how many wait, and when to come back."""
        super().__init__(
            f"{waiting} requests are waiting already; try again later",
            status=503,
            code="overloaded",
            retry_after_s=retry_after_s,
        )


class _Ended:
    """Stands behind the last outcome of a task."""


class Task(Generic[T]):
    """The work of one request. Made and read in the event loop, done in the worker's thread."""

    def __init__(self, steps: Iterator[T]) -> None:
        """Take the work; each item that it yields is a step."""
        self._steps = steps
        self._loop = asyncio.get_running_loop()
        self._outcomes: asyncio.Queue[T | Exception | _Ended] = asyncio.Queue()
        self._cancelled = threading.Event()
        self.busy_s = 0.0

    def cancel(self) -> None:
        """Stop after the step that is being done."""
        self._cancelled.set()

    async def first(self) -> T:
        """Return the first outcome, or raise why there is none."""
        outcome = await self._take()
        if isinstance(outcome, _Ended):
            raise Refused("the server is stopping", status=503, code="stopping", retry_after_s=5)
        return outcome

    async def rest(self) -> AsyncIterator[T]:
        """Yield the outcomes that are still to come."""
        while not isinstance(outcome := await self._take(), _Ended):
            yield outcome

    async def _take(self) -> T | _Ended:
        outcome = await self._outcomes.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def step(self) -> bool:
        """Do one step; return whether there may be another. Called by the worker alone."""
        began_s = time.monotonic()
        try:
            outcome = _Ended() if self._cancelled.is_set() else next(self._steps, _Ended())
        except LoopwrightError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001  (one request must not end all the others)
            _log.error("a request failed", exc_info=error)
            outcome = Refused(
                "something went wrong inside; the log of the server has it",
                status=500,
                code="internal_error",
            )
        self.busy_s += time.monotonic() - began_s
        self._tell(outcome)
        return not isinstance(outcome, (_Ended, Exception))

    def _tell(self, outcome: T | Exception | _Ended) -> None:
        # The loop is gone when the server was killed hard.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._outcomes.put_nowait, outcome)

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants the outcome any more."""
        return self._cancelled.is_set()


class Worker:
    """The thread, and the bounded line in front of it."""

    def __init__(self, *, waiting: int = 32, together: int = 4) -> None:
        """Prepare; :meth:`start` begins.

        Args:
            waiting: Most requests that wait for their first step.
            together: Most requests that share the thread.
        """
        self._most_waiting, self._together = waiting, together
        self._waiting: deque[Task] = deque()
        self._sharing: deque[Task] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._usual_s = 1.0
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)

    @property
    def waiting(self) -> int:
        """Requests that wait for their first step."""
        return len(self._waiting)

    @property
    def sharing(self) -> int:
        """Requests that share the thread now."""
        return self._in_hand

    _in_hand = 0

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, *, within_s: float = 5.0) -> None:
        """Drop what waits, stop what is being done after its step, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(within_s)

    def submit(self, steps: Iterator[T]) -> Task[T]:
        """Put work in line.

        Raises:
            Busy: The line is full.
        """
        task = Task(steps)
        with self._changed:
            self._forget_cancelled()
            if len(self._waiting) >= self._most_waiting:
                ahead_s = self._usual_s * len(self._waiting)
                raise Busy(len(self._waiting), max(1, min(60, math.ceil(ahead_s))))
            self._waiting.append(task)
            self._changed.notify()
        return task

    def _forget_cancelled(self) -> None:
        self._waiting = deque(task for task in self._waiting if not task.is_cancelled)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            if task.step():
                self._sharing.append(task)
            else:
                self._in_hand -= 1
                self._usual_s += 0.2 * (task.busy_s - self._usual_s)

    def _next(self) -> Task | None:
        """Return whose turn it is; None at the end."""
        with self._changed:
            while True:
                if self._stopping:
                    return self._drop_all()
                while self._waiting and self._in_hand < self._together:
                    self._sharing.append(self._waiting.popleft())
                    self._in_hand += 1
                if self._sharing:
                    return self._sharing.popleft()
                self._changed.wait()

    def _drop_all(self) -> None:
        for task in [*self._sharing, *self._waiting]:
            task.cancel()
            task.step()
        self._sharing.clear()
        self._waiting.clear()
