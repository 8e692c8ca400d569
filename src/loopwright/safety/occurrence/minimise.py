"""From a flight to the shortest script that still shows what happened in it.

First from the front: the script begins at ever later states of the flight, found again by exact
replay, as long as a mended filter could still prevent it. Then from the back: it ends where the
event happens. Then in between: every change of the request that is not needed is taken away, so
that the request before it is kept (delta debugging).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import Unidentified
from loopwright.safety.blackbox import Flight, Snapshot
from loopwright.safety.body import Measured, Plant
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.rerun import Outcome, Stage
from loopwright.safety.occurrence.script import (
    Script,
    keeping,
    length_of,
    script_of,
    shortened,
    without_ages,
)

MOST_STEPS = 2_000
"""How far before the event a script may begin."""
MOST_RUNS = 400
"""Scripts tried; what is found by then is taken, though it may not be the shortest."""
RUN_UP_S = 0.25
"""Added before the latest moment at which a mended filter prevents it: another good filter may
brake earlier and more gently than the one that was tried."""
_LATER_STEPS = 16
"""A filter in its first state may let it happen a little later than in the flight."""


Test = Callable[[bytes, Script], bool]
"""Whether a script from a state of the plant is worth keeping."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shortest:
    """The shortest script that was found."""

    state: bytes
    """Of the plant, where it begins."""
    script: Script
    outcome: Outcome
    first_step: int
    """Number of the control step of the flight at which it begins."""
    flight_requests: int
    """Different requests in that part of the flight, of which the script has fewer or as many."""
    same_as_flight: bool
    """Whether that part, as it was asked for, came out as recorded, bit by bit, when the filter
    decided again from its first state."""
    tells: bool
    """Whether the mended configuration prevents it."""
    runs: int
    """Scripts tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What makes a script worth keeping."""

    stage: Stage
    """Robot, and what to watch it for."""
    flown: Configuration
    """Of the filter that flew: with it, it has to happen."""
    mended: Configuration
    """With it, it must not happen, if that can be had: a script that begins when it is too late for
    any filter tells a good one from a bad one no more."""

    def happens(self, state: bytes, script: Script) -> bool:
        """Tell whether it happens."""
        return self.stage.run(state, script, self.flown).event_after is not None

    def tells(self, state: bytes, script: Script) -> bool:
        """Tell whether it happens, and not when mended."""
        return self.happens(state, script) and self.stage.is_prevented(state, script, self.mended)


def minimise(flight: Flight, event_step: int, search: Search) -> Shortest:
    """Find the shortest script that shows what the stage is watched for.

    Args:
        flight: What was recorded.
        event_step: Number of the control step at which it happened.
        search: What makes a script worth keeping.

    Raises:
        Unidentified: The flight cannot be replayed here, or does not show it again.
    """
    stage, flown = search.stage, search.flown
    rows = np.flatnonzero(flight.steps["sequence"] == event_step)
    if len(rows) != 1:
        raise Unidentified(f"{len(rows)} records of step {event_step} in {flight.path}, not one")
    window = _Window(flight, int(rows[0]), _states_until(flight, stage.plant, int(rows[0])))
    first_row, wanted = _latest_start(window, search)
    state, script = window.states[first_row], window.script(first_row)
    before = stage.run(state, script, flown)
    assert before.event_after is not None
    script = shortened(script, before.event_after)
    short = _simplest(script, lambda tried: wanted(state, tried), stage)
    after = stage.run(state, short, flown)
    short = shortened(short, after.event_after or length_of(short))
    return Shortest(
        state=state,
        script=short,
        outcome=after,
        first_step=int(flight.steps["sequence"][first_row]),
        flight_requests=len(without_ages(script)),
        same_as_flight=window.recorded(first_row, len(before.measured))
        == before.measured.tobytes(),
        tells=stage.is_prevented(state, short, search.mended),
        runs=stage.runs,
    )


class _Window:
    """The part of a flight that a script may be taken from."""

    def __init__(self, flight: Flight, event_row: int, states: dict[int, bytes]) -> None:
        self._flight, self.event_row, self.states = flight, event_row, states

    def script(self, first_row: int) -> Script:
        """Return what was asked from a row to the event, and a little further."""
        return script_of(self._flight, first_row, self.event_row + 1 + _LATER_STEPS)

    @property
    def most_steps(self) -> int:
        """How many steps before the event a script may begin."""
        return self.event_row - min(self.states)

    def passes(self, test: Test, steps: int) -> bool:
        """Tell whether what was asked in so many steps before the event passes a test."""
        first_row = self.event_row - steps
        return test(self.states[first_row], self.script(first_row))

    def recorded(self, first_row: int, rows: int) -> bytes:
        """Return what was measured in some rows."""
        found = self._flight.steps[first_row : first_row + rows]
        return np.concatenate([found["position"], found["speed"]], axis=1).tobytes()


def _latest_start(window: _Window, search: Search) -> tuple[int, Test]:
    """Return the latest row to begin at, and what holds from there.

    Raises:
        Unidentified: It does not happen again from any row.
    """
    run_up = round(RUN_UP_S * search.stage.body.spec.rate_hz)
    for test in (search.tells, search.happens):
        steps = _fewest_steps(window, test)
        if steps is not None:
            longer = min(steps + run_up, window.most_steps)
            return window.event_row - (longer if window.passes(test, longer) else steps), test
    raise Unidentified(
        f"what happened does not happen again within the {window.most_steps} steps before it when "
        "the filter decides anew; its cause is not in this recording"
    )


def _fewest_steps(window: _Window, test: Test) -> int | None:
    """Return how many steps before the event are enough, or None."""
    long, short = 1, 0
    while long < window.most_steps and not window.passes(test, long):
        long, short = 2 * long, long
    long = min(long, window.most_steps)
    if long == 0 or not window.passes(test, long):
        return None
    while long - short > 1:
        middle = (long + short) // 2
        if window.passes(test, middle):
            long = middle
        else:
            short = middle
    return long


def _states_until(flight: Flight, plant: Plant, event_row: int) -> dict[int, bytes]:
    """Return the plant's state before each of the rows that a script may begin at.

    Raises:
        Unidentified: No snapshot lies before the event, steps are missing, or the replay differs.
    """
    start = _snapshot_before(flight, event_row)
    numbers = flight.steps["sequence"].astype(np.int64)
    first_row = int(np.searchsorted(numbers, start.next_step))
    if (np.diff(numbers[first_row : event_row + 1]) != 1).any():
        raise Unidentified(f"control steps before the event are missing from {flight.path}")
    states: dict[int, bytes] = {}
    measured = plant.load(start.state)
    for row_number in range(first_row, event_row + 1):
        row = flight.steps[row_number]
        if not _is_recorded(row, measured):
            raise Unidentified(
                f"{flight.path} does not replay exactly here (from step {row['sequence']} on): "
                "minimise it on the build that flew; 'loopwright blackbox replay' says more"
            )
        states[row_number] = plant.save()
        measured = plant.stop() if row["stopping"] else plant.step(row["applied"].copy())
    return states


def _snapshot_before(flight: Flight, event_row: int) -> Snapshot:
    """Return a snapshot far enough before the event, or else the first."""
    step = int(flight.steps["sequence"][event_row])
    before = [snapshot for snapshot in flight.snapshots if snapshot.next_step <= step]
    if not before:
        raise Unidentified(
            f"{flight.path} has no snapshot before step {step}; a robot without a simulated plant "
            "has none, and its flight is evidence but no scenario"
        )
    early = [snapshot for snapshot in before if snapshot.next_step <= step - MOST_STEPS]
    return early[-1] if early else before[0]


def _is_recorded(row: np.void, measured: Measured) -> bool:
    return (
        row["position"].tobytes() == measured.position.tobytes()
        and row["speed"].tobytes() == measured.speed.tobytes()
    )


def _simplest(script: Script, passes: Callable[[Script], bool], stage: Stage) -> Script:
    """Return the script with fresh requests if that will do, and as few of them as will do."""
    fresh = without_ages(script)
    if passes(fresh):
        script = fresh
    needed = _needed_changes(
        range(1, len(script)),
        lambda changes: passes(keeping(script, changes)),
        lambda: stage.runs < MOST_RUNS,
    )
    return keeping(script, needed)


def _needed_changes(
    changes: Sequence[int],
    happens: Callable[[Sequence[int]], bool],
    may_go_on: Callable[[], bool],
) -> list[int]:
    """Return changes of which, in the end, no single one can be left out (delta debugging)."""
    kept, parts = list(changes), 1
    while kept and may_go_on():
        size = -(-len(kept) // parts)
        for begin in range(0, len(kept), size):
            rest = kept[:begin] + kept[begin + size :]
            if happens(rest):
                kept, parts = rest, max(parts - 1, 1)
                break
            if not may_go_on():
                return kept
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(kept))
    return kept
