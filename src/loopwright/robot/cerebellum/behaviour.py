"""Behaviours out of behaviours: one after another, one or else another, again, at most so long.

The body of a skill is a generator, and so is every behaviour here: the tree is the call graph, the
tick is ``next``, success is returning, failure is :class:`~loopwright.robot.skill.GaveUp`, and a
cancelled tree is closed from the root down, through every ``finally`` on the way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import TypeVar

import numpy as np

from loopwright.robot.skill import GaveUp, Hands, Motion

Result = TypeVar("Result")


def first_of(*ways: Callable[[], Motion]) -> Motion:
    """Try ways in order until one does not give up (a fallback node).

    Raises:
        GaveUp: All gave up; the reasons are joined.
    """
    reasons = []
    for way in ways:
        try:
            yield from way()
        except GaveUp as gave_up:
            reasons.append(str(gave_up))
        else:
            return
    raise GaveUp("; then ".join(reasons) or "there was no way to try")


def again(times: int, way: Callable[[], Motion]) -> Motion:
    """Try one way up to so often."""
    yield from first_of(*[way] * times)


def within(seconds: float, hands: Hands, motion: Motion) -> Motion:
    """Run a motion for at most so long, counted in control steps.

    Raises:
        GaveUp: It was not over by then.
    """
    try:
        for _ in range(max(1, round(seconds * hands.rate_hz))):
            try:
                yield next(motion)
            except StopIteration:
                return
    finally:
        motion.close()
    raise GaveUp(f"not done within {seconds:g} s")


def until(condition: Callable[[], bool], motion: Motion) -> Motion:
    """Run a motion until a condition holds or it is over."""
    try:
        while not condition():
            try:
                yield next(motion)
            except StopIteration:
                return
    finally:
        motion.close()


def side_by_side(*motions: Motion) -> Motion:
    """Run motions at once; their commands are added, None adds nothing. Over when all are over."""
    running: list[Generator[np.ndarray | None, None, None]] = list(motions)
    try:
        while running:
            commands = []
            for motion in list(running):
                try:
                    commands.append(next(motion))
                except StopIteration:
                    running.remove(motion)
            moving = [c for c in commands if c is not None]
            if running:
                yield np.sum(moving, axis=0) if moving else None
    finally:
        for motion in running:
            motion.close()


def in_background(work: Callable[[], Result]) -> Generator[np.ndarray | None, None, Result]:
    """Keep still while something is computed, and return it; ticks and cancels go on meanwhile."""
    done: list[Result] = []
    failed: list[BaseException] = []

    def compute() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            failed.append(error)

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    while thread.is_alive():
        yield None
    if failed:
        raise failed[0]
    return done[0]


def still(seconds: float, hands: Hands) -> Motion:
    """Keep still for a while."""
    for _ in range(round(seconds * hands.rate_hz)):
        yield None
