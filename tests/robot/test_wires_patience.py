"""Waiting together: cheap, and none of it on the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from loopwright.core.errors import UnknownName
from loopwright.robot.wires.patience import Patience


def test_many_who_wait_long_look_together_and_never_on_the_loop() -> None:
    loops = threading.get_ident()
    looked: list[int] = []
    true = threading.Event()

    def look() -> bool:
        looked.append(threading.get_ident())
        return true.is_set()

    async def wait() -> set[int]:
        patience = Patience()
        waiting = [asyncio.create_task(patience.until(look, 10.0)) for _ in range(100)]
        await asyncio.sleep(1.5)
        looked.clear()
        await asyncio.sleep(0.5)
        by, together = set(looked), len(looked)
        true.set()
        await asyncio.wait_for(asyncio.gather(*waiting), 2.0)
        assert together >= 400  # some four to ten times each, as seldom as one alone would
        return by

    by = asyncio.run(wait())
    assert loops not in by
    assert len(by) <= 2


def test_an_error_reaches_whoever_looked_and_nobody_else() -> None:
    fails = threading.Event()

    def look() -> bool:
        if fails.is_set():
            raise UnknownName("task", "t-1", ())
        return False

    async def wait() -> None:
        patience = Patience()
        failing = asyncio.create_task(patience.until(look, 10.0))
        others = asyncio.create_task(patience.until(lambda: False, 2.0))
        await asyncio.sleep(1.2)
        fails.set()
        with pytest.raises(UnknownName):
            await asyncio.wait_for(failing, 2.0)
        await asyncio.wait_for(others, 3.0)

    asyncio.run(wait())


def test_who_no_longer_waits_keeps_nobody_waiting() -> None:
    true = threading.Event()

    async def wait() -> None:
        patience = Patience()
        waiting = [asyncio.create_task(patience.until(true.is_set, 10.0)) for _ in range(2)]
        await asyncio.sleep(1.2)
        waiting[0].cancel()
        true.set()
        await asyncio.wait_for(waiting[1], 2.0)

    asyncio.run(wait())
