"""Waiting for something to become true of a fleet, within a server that may end meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

_SHORTEST_S, _LONGEST_S = 0.001, 0.05
_SHARE = 0.05
"""How much longer than needed anybody waits at most, as a share of the time waited."""

_T = TypeVar("_T")


class Patience:
    """Waits by looking again and again; it holds no thread, so anybody may wait."""

    def __init__(self) -> None:
        """Be patient."""
        self._urgent: anyio.CapacityLimiter | None = None
        self._unhurried: anyio.CapacityLimiter | None = None
        self.over = False
        """Whether the server ends, so that nobody is to wait any longer."""

    def end(self) -> None:
        """Let nobody wait any longer."""
        self.over = True

    async def until(self, true: Callable[[], bool], timeout_s: float) -> None:
        """Return when something is true, time is up, or the server ends."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while not true() and not self.over:
            waited_s = loop.time() - began_s
            if waited_s >= timeout_s:
                return
            pause_s = min(max(_SHORTEST_S, _SHARE * waited_s), _LONGEST_S)
            await asyncio.sleep(min(pause_s, timeout_s - waited_s))

    async def urgently(self, act: Callable[[], _T]) -> _T:
        """Run something in a thread of its own supply: a stop never waits behind a question."""
        if self._urgent is None:
            self._urgent = anyio.CapacityLimiter(16)
        return await anyio.to_thread.run_sync(act, limiter=self._urgent)

    async def unhurriedly(self, act: Callable[[], _T]) -> _T:
        """Run something that takes long: whoever waits for it takes no thread from others."""
        if self._unhurried is None:
            self._unhurried = anyio.CapacityLimiter(2)
        return await anyio.to_thread.run_sync(act, limiter=self._unhurried)
