"""Waiting for something to become true of a fleet, within a server that may end meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

_SHORTEST_S, _LONGEST_S = 0.001, 0.05
_SHARE = 0.05
"""How much longer than needed anybody waits at most, as a share of the time waited."""

_LOOKERS = 4
"""Threads that look for those who wait; they look fast, or wait for one lock."""
_PRESSERS = 256
"""So many stops are told at once, even if none of them can be written down."""

_T = TypeVar("_T")


class Patience:
    """Waits by looking again and again; it holds a thread only while it looks.

    It never looks on the event loop: whoever looks takes a lock, and the loop is what a stop comes
    through. Those who wait long look together, so that a hundred of them cost about as much as one.
    """

    def __init__(self) -> None:
        """Be patient."""
        self._lookers: anyio.CapacityLimiter | None = None
        self._urgent: anyio.CapacityLimiter | None = None
        self._unhurried: anyio.CapacityLimiter | None = None
        self._asked: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []
        self._together: asyncio.Task[None] | None = None
        self.over = False
        """Whether the server ends, so that nobody is to wait any longer."""

    def end(self) -> None:
        """Let nobody wait any longer."""
        self.over = True

    async def until(self, true: Callable[[], bool], timeout_s: float) -> None:
        """Return when something is true, time is up, or the server ends.

        Args:
            true: Tells, from a thread; what takes long may do so only the first time.
            timeout_s: How long to wait at most.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        found = await self._look(true)
        while not found and not self.over:
            waited_s = loop.time() - began_s
            if waited_s >= timeout_s:
                return
            pause_s = min(max(_SHORTEST_S, _SHARE * waited_s), _LONGEST_S)
            if pause_s == _LONGEST_S:
                pause_s -= loop.time() % _LONGEST_S  # so that all wake at once
            await asyncio.sleep(min(pause_s, timeout_s - waited_s))
            found = await self._look_with_others(true)

    async def _look(self, true: Callable[[], _T]) -> _T:
        if self._lookers is None:
            self._lookers = anyio.CapacityLimiter(_LOOKERS)
        return await anyio.to_thread.run_sync(true, limiter=self._lookers, abandon_on_cancel=True)

    async def _look_with_others(self, true: Callable[[], bool]) -> bool:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[bool] = loop.create_future()
        self._asked.append((true, found))
        if self._together is None or self._together.done():
            self._together = loop.create_task(self._look_for_all())
        return await found

    async def _look_for_all(self) -> None:
        while asked := self._asked:
            self._asked = []
            looks, waiting = zip(*asked, strict=True)
            for found, answer in zip(
                waiting, await self._look(partial(_answers, looks)), strict=True
            ):
                if found.done():  # whoever asked has left
                    continue
                if isinstance(answer, Exception):
                    found.set_exception(answer)
                else:
                    found.set_result(answer)

    async def urgently(self, act: Callable[[], _T]) -> _T:
        """Run something in a thread of its own supply: a stop never waits behind a question."""
        if self._urgent is None:
            self._urgent = anyio.CapacityLimiter(_PRESSERS)
        return await anyio.to_thread.run_sync(act, limiter=self._urgent)

    async def unhurriedly(self, act: Callable[[], _T]) -> _T:
        """Run something that takes long: whoever waits for it takes no thread from others."""
        if self._unhurried is None:
            self._unhurried = anyio.CapacityLimiter(2)
        return await anyio.to_thread.run_sync(act, limiter=self._unhurried)


def _answers(looks: Sequence[Callable[[], bool]]) -> list[bool | Exception]:
    return [_answer(true) for true in looks]


def _answer(true: Callable[[], bool]) -> bool | Exception:
    try:
        return true()
    except Exception as error:  # noqa: BLE001 - it is that of whoever asked, and of nobody else
        return error
