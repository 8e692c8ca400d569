"""The watchdog of a cell: it owns the enable line, watches every guard and drive, and keeps why.

The line goes up when everybody is ready, and drops for the whole cell at the first fault of
anybody. It first drops, and then writes why: the disk is never waited for with a robot in motion.
It rises again after an operator's signed release of the newest stop, and in no other way, not even
when the watchdog is restarted or the power was cut.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loopwright.core.errors import DamagedData, StorageError, Untrusted
from loopwright.safety.decision import Reason
from loopwright.safety.guard.clock import Tick
from loopwright.safety.guard.config import Bounds
from loopwright.safety.guard.releases import LOOK_EVERY_S
from loopwright.safety.guard.signals import (
    Command,
    GuardState,
    Line,
    LineState,
    Reader,
    Reading,
    Trip,
    Writer,
)
from loopwright.safety.guard.stops import (
    BUTTON,
    Stop,
    StopLog,
    find_release,
    is_released,
    newest_stop,
    say,
    utc_now,
)
from loopwright.safety.keys import KeyRing


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """One robot, as the watchdog sees it."""

    name: str
    commands: Reader[Command]
    readings: Reader[Reading]


@dataclass(frozen=True, kw_only=True, slots=True)
class Papers:
    """What a watchdog reads and writes besides the signals."""

    log: StopLog
    """Where it says why."""
    releases: Path
    """Folder in which operators' releases appear."""
    ring: KeyRing
    """Who is an operator."""
    button: Path
    """Folder in which the stop button appears as a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What the line drops for."""

    robot: int
    """Place in the cell; -1 where it is nobody's."""
    reason: Reason
    detail: str


Seen = tuple[Command | None, Reading | None]
"""What one robot's guard and drive said last."""


class Watchdog:
    """Owns the line of one cell."""

    def __init__(
        self,
        *,
        cell: str,
        robots: Sequence[Watched],
        line: Writer[Line],
        papers: Papers,
        bounds: Bounds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over the line: down if a stop is open, or if a watchdog died before.

        Args:
            cell: Its name.
            robots: In the order of the cell.
            line: What it alone writes.
            papers: What it reads and writes besides.
            bounds: How long to wait for others.
            clock: ``time.monotonic``.
        """
        self._cell, self._robots, self._line = cell, tuple(robots), line
        self._log, self._releases, self._ring = papers.log, papers.releases, papers.ring
        self._bounds, self._button, self._clock = bounds, papers.button / BUTTON, clock
        self._acknowledged = dict.fromkeys((robot.name for robot in robots), 0)
        self._stop = newest_stop(papers.log.events)
        self._unwritten: Stop | None = None
        self._looked_s, self._refused = float("-inf"), ""
        self._raises = line.last.raises if line.last else 0
        self._state, self._since_s = LineState.ARMING, clock()
        self._fault = Fault(robot=-1, reason=Reason.UNALTERED, detail="")
        restarted = line.last is not None and self._left_open(line.last)
        if restarted or papers.log.torn:
            reason = Reason.DEADLINE if restarted else Reason.RECORDER
            detail = "the watchdog was restarted" if restarted else "the stop log was torn"
            self._drop(Fault(robot=-1, reason=reason, detail=detail), self._look())
        elif self._stop is not None and not is_released(papers.log.events):
            self._state = LineState.DOWN
            self._fault = self._remembered(self._stop)

    def _left_open(self, last: Line) -> bool:
        """Whether an earlier watchdog left something that no stop in the log accounts for."""
        if last.state is LineState.DOWN:
            return last.stop > (self._stop.number if self._stop else 0)
        return last.state is not LineState.CLOSED

    @property
    def state(self) -> LineState:
        """What the line says."""
        return self._state

    @property
    def stop(self) -> Stop | None:
        """The newest stop."""
        return self._stop

    def beat(self, tick: Tick) -> None:
        """Look at everybody once; drop, release or raise the line."""
        now_s, seen = tick.now_s, self._look()
        fault = self._pressed() or self._latched(seen)
        if fault is None and self._state is LineState.UP:
            fault = self._silent(seen, now_s) or self._tripped(seen)
        if fault is not None:
            self._drop(fault, seen)
        elif self._state is LineState.DOWN:
            self._try_release(now_s)
        elif self._state is LineState.ARMING and self._all_ready(seen, now_s):
            self._raise()
            # The disk may have taken its time, and a line that comes up old trips the drives.
            now_s = self._clock()
        self._publish(now_s)
        if self._unwritten is not None:
            self._write_down()

    def _look(self) -> list[Seen]:
        return [(robot.commands.read(), robot.readings.read()) for robot in self._robots]

    def _pressed(self) -> Fault | None:
        """Return the operator's stop, and take the button out again."""
        if not self._button.exists():
            return None
        try:
            said = json.loads(self._button.read_bytes())
            detail = f"{said['who']}: {said['why']}"
        except (OSError, ValueError, KeyError, TypeError):
            detail = "somebody, who said nothing that can be read"
        self._button.unlink(missing_ok=True)
        return Fault(robot=-1, reason=Reason.OPERATOR, detail=detail)

    def _latched(self, seen: Sequence[Seen]) -> Fault | None:
        """Return the first latch that no stop covers yet, whatever the line says."""
        for place, (command, _) in enumerate(seen):
            if (
                command is not None
                and command.state is GuardState.LATCHED
                and command.latches > self._acknowledged[self._robots[place].name]
            ):
                detail = "its guard latched; its log says why"
                return Fault(robot=place, reason=command.reason, detail=detail)
        return None

    def _silent(self, seen: Sequence[Seen], now_s: float) -> Fault | None:
        """Return the first guard or drive that is not heard."""
        for place, (command, reading) in enumerate(seen):
            for who, signal, bound_s, reason in (
                ("guard", command, self._bounds.guard_s, Reason.DEADLINE),
                ("drive", reading, self._bounds.reading_s, Reason.STALE),
            ):
                silent_s = float("inf") if signal is None else now_s - signal.time_s
                if silent_s > bound_s:
                    detail = f"its {who} is silent for {1e3 * silent_s:.1f} ms"
                    return Fault(robot=place, reason=reason, detail=detail)
        return None

    def _tripped(self, seen: Sequence[Seen]) -> Fault | None:
        """Return the first drive that stopped by itself since the line was raised."""
        for place, (_, reading) in enumerate(seen):
            if (
                reading is not None
                and reading.trip is not Trip.NONE
                and reading.trip_raise == self._raises
            ):
                detail = f"its drive tripped: {reading.trip.name}"
                return Fault(robot=place, reason=Reason.DEADLINE, detail=detail)
        return None

    def _all_ready(self, seen: Sequence[Seen], now_s: float) -> bool:
        return self._silent(seen, now_s) is None and all(
            command is not None and command.state is GuardState.READY for command, _ in seen
        )

    def _drop(self, fault: Fault, seen: Sequence[Seen]) -> None:
        """Drop the line, first of all; then remember why."""
        now_s = self._clock()
        if self._state is not LineState.DOWN:
            self._since_s = now_s
        self._state, self._fault = LineState.DOWN, fault
        for robot, (command, _) in zip(self._robots, seen, strict=False):
            if command is not None:
                self._acknowledged[robot.name] = command.latches
        self._stop = Stop(
            cell=self._cell,
            number=1 + (self._stop.number if self._stop else 0),
            robot=self._robots[fault.robot].name if fault.robot >= 0 else "",
            reason=fault.reason.name,
            detail=fault.detail,
            time_s=now_s,
            utc=utc_now(),
            latches=dict(self._acknowledged),
        )
        self._publish(now_s)
        self._unwritten = self._stop
        self._write_down()

    def _write_down(self) -> None:
        """Write the open stop; tried again at every beat until the disk takes it."""
        if self._unwritten is None:
            return
        try:
            self._log.append("stop", asdict(self._unwritten))
        except StorageError as error:
            say(f"{json.dumps(asdict(self._unwritten))}: {error}")
            return
        self._unwritten = None

    def _remembered(self, stop: Stop) -> Fault:
        names = [robot.name for robot in self._robots]
        place = names.index(stop.robot) if stop.robot in names else -1
        return Fault(robot=place, reason=Reason[stop.reason], detail=stop.detail)

    def _try_release(self, now_s: float) -> None:
        if self._stop is None or self._unwritten or now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        try:
            holder = find_release(self._releases, self._stop, self._ring)
        except (Untrusted, DamagedData) as error:
            if str(error) != self._refused:
                self._refused = str(error)
                self._log.append("release-refused", {"detail": self._refused, "utc": utc_now()})
            return
        if holder is None:
            return
        event = {"number": self._stop.number, "person": holder.person, "utc": utc_now()}
        self._log.append("released", event)
        self._state, self._since_s = LineState.ARMING, self._clock()

    def _raise(self) -> None:
        """Say it first, on the disk; then raise the line."""
        self._raises += 1
        self._log.append("raised", {"raises": self._raises, "utc": utc_now()})
        self._state, self._since_s = LineState.UP, self._clock()

    def _publish(self, time_s: float) -> None:
        self._line.write(
            Line(
                time_s=time_s,
                state=self._state,
                raises=self._raises,
                stop=self._stop.number if self._stop else 0,
                since_s=self._since_s,
                reason=self._fault.reason,
                robot=self._fault.robot,
            )
        )

    def close(self) -> None:
        """End in good order: the line goes down for everybody; an open stop stays open."""
        if self._state is not LineState.DOWN:
            self._state, self._since_s = LineState.CLOSED, self._clock()
            self._publish(self._clock())
            self._log.append("closed", {"utc": utc_now()})
        self._log.close()
