"""The bus within one process: who fails at a message hears the next, and is told of."""

from __future__ import annotations

import logging
import queue
import sys
import time

import pytest

from loopwright.robot import messages as say
from loopwright.robot.bus import LocalBus


def test_whoever_fails_at_a_message_hears_the_next(caplog: pytest.LogCaptureFixture) -> None:
    bus = LocalBus()
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def hear(message: say.Message) -> None:
        assert isinstance(message, say.Stop)
        if message.by == "first":
            raise OSError("serial port hiccup")
        heard.put(message.by)

    with caplog.at_level(logging.ERROR):
        listening = bus.subscribe(say.ALL_ROBOTS, hear)
        bus.publish(say.ALL_ROBOTS, say.Stop(by="first"))
        bus.publish(say.ALL_ROBOTS, say.Stop(by="second"))
        assert heard.get(timeout=5.0) == "second"
    assert bus.failures == {say.ALL_ROBOTS: 1}
    assert "serial port hiccup" in caplog.text
    assert listening.is_alive()
    bus.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_subscription_that_is_dead_or_ended_says_so() -> None:
    bus = LocalBus()
    dead = bus.subscribe(say.ALL_ROBOTS, lambda _: sys.exit("a driver that wants to end"))
    ended = bus.subscribe(say.REPORTS, lambda _: None)
    bus.publish(say.ALL_ROBOTS, say.Stop(by="somebody"))
    ended()
    until_s = time.monotonic() + 5.0
    while (dead.is_alive() or ended.is_alive()) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not dead.is_alive()
    assert not ended.is_alive()
    assert bus.failures == {}
    bus.close()
