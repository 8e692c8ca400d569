"""A schedule at hand: made anew beside the coordinator's thread whenever it may have changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from loopwright.robot.coordinator.ability import can_do
from loopwright.robot.coordinator.scheduling.durations import Durations
from loopwright.robot.coordinator.scheduling.schedule import Schedule, schedule
from loopwright.robot.coordinator.scheduling.situation import Situation, situation_of
from loopwright.robot.journal.fold import FleetState, IntentState
from loopwright.robot.knowledge import WorldMemory

AT_MOST_EVERY_S = 1.0
"""How often a schedule is made at most."""
AT_LEAST_EVERY_S = 4.0
"""How old one grows while there is something to choose: attempts take longer than expected."""
SETTLED_S = 0.1
"""How long there must be something to choose before anybody thinks about it: what is over sooner
needs no schedule, and is not to wait for one."""
PAUSE_TIMES = 9.0
"""How many times as long as it thought it rests; so it takes a tenth of a core at most."""
LEAST_WORK_S = 2.0
"""Less than this is done before a schedule would help."""
MOST_CHOICES = 500
"""Steps times robots that could do them; more than this is left to the greedy order, for to look at
so many takes the coordinator's thread 10 ms already."""


class Foresight:
    """Makes schedules, and hands over each when it is ready."""

    def __init__(
        self, state: FleetState, deliver: Callable[[Schedule], None], *, within_s: float = 0.5
    ) -> None:
        """Learn from the past.

        Args:
            state: With the attempts of a journal.
            deliver: Called with each new schedule, in a thread of its own.
            within_s: How long to search for one.
        """
        self._durations = Durations(state.intents.values())
        self._deliver, self._within_s = deliver, within_s
        self._thread: threading.Thread | None = None
        self._number = -1
        self._choice_since_s: float | None = None
        self._made_s = self._not_before_s = 0.0

    def learn(self, intent: IntentState) -> None:
        """Take an attempt that is over into account."""
        self._durations.learn(intent)

    def consider(self, state: FleetState, memory: WorldMemory) -> None:
        """Begin a new schedule if one is due; returns at once, from the coordinator's thread."""
        now_s = time.monotonic()
        if now_s < self._not_before_s or (self._thread and self._thread.is_alive()):
            return
        if state.number == self._number and now_s - self._made_s < AT_LEAST_EVERY_S:
            return
        self._not_before_s = now_s + SETTLED_S  # asking costs something, too
        if not is_worth_a_schedule(state):
            self._number, self._made_s, self._choice_since_s = state.number, now_s, None
            return
        if self._choice_since_s is None:
            self._choice_since_s = now_s
        if now_s - self._choice_since_s < SETTLED_S:
            return
        self._number, self._made_s = state.number, now_s
        self._not_before_s = now_s + AT_MOST_EVERY_S
        situation = situation_of(
            state, memory.facts(), memory.symbols, self._durations, time.time()
        )
        if sum(min(c.lasts_s for c in job.choices) for job in situation.jobs) >= LEAST_WORK_S:
            self._thread = threading.Thread(
                target=self._think, args=(situation,), name="schedule", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Wait until nobody thinks any more."""
        if self._thread:
            self._thread.join(timeout=2 * self._within_s + 5.0)

    def _think(self, situation: Situation) -> None:
        began_s = time.thread_time()
        found = schedule(situation, within_s=self._within_s)
        rest_s = PAUSE_TIMES * (time.thread_time() - began_s)
        self._not_before_s = max(self._not_before_s, time.monotonic() + rest_s)
        self._deliver(found)


def is_worth_a_schedule(state: FleetState) -> bool:
    """Tell whether there is something to choose, or a deadline, and not too much of it.

    Something to choose: steps of several tasks that have not begun, or of which any of several
    robots could do one.
    """
    robots = [r for r in state.robots.values() if r.alive and not state.is_stopped(r.name)]
    tasks_waiting = choices = 0
    has_choice = False
    for task in state.open_tasks:
        if task.status != "running" or task.graph is None:
            continue
        has_choice |= task.deadline_s is not None
        begun = {i.step for i in task.intents if i.is_open or i.outcome == "succeeded"}
        waiting = [s for s in task.graph.steps if s.id not in begun]
        tasks_waiting += bool(waiting)
        for step in waiting:
            has_choice |= step.deadline_s is not None
            able = 1 if step.robot else sum(can_do(r, step) for r in robots)
            has_choice |= able > 1
            choices += able
            if choices > MOST_CHOICES:
                return False
    return has_choice or tasks_waiting > 1
