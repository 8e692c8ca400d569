"""The drive of one robot: the last of the chain, and the one that needs nobody to stop.

It follows its guard's command only while the line is up, the watchdog's heartbeat is young and the
command is young. On a real robot this belongs into the drive's own firmware, with the line as a
wire; here it is a process, with the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopwright.safety.guard.actuators import Actuators
from loopwright.safety.guard.clock import Tick
from loopwright.safety.guard.config import Bounds
from loopwright.safety.guard.signals import (
    Command,
    Line,
    LineState,
    Reader,
    Reading,
    Trip,
    Writer,
)

_LONGEST_GAP = 100
"""Beats that a simulated robot is moved on for after its process slept; it would not have waited
for us."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wiring:
    """The signals of one drive."""

    commands: Reader[Command]
    line: Reader[Line]
    readings: Writer[Reading]


class Drive:
    """Moves the motors, or stops them."""

    def __init__(self, *, actuators: Actuators, wiring: Wiring, bounds: Bounds) -> None:
        """Take over the motors; in mid-motion, or after an earlier drive, it stands tripped."""
        self._actuators, self._wiring, self._bounds = actuators, wiring, bounds
        line = wiring.line.read()
        restarted = wiring.readings.last is not None or (
            line is not None and line.state is LineState.UP
        )
        self._trip = Trip.RESTARTED if restarted else Trip.NONE
        self._trip_raise = line.raises if line else 0

    @property
    def trip(self) -> Trip:
        """Why it stopped by itself, until the line has been dropped and raised."""
        return self._trip

    def beat(self, tick: Tick) -> None:
        """Follow or stop, then say what was measured."""
        for _ in range(1 + min(tick.missed, _LONGEST_GAP)):
            command = self._followed(tick)
            if command is None:
                self._actuators.stop()
            else:
                self._actuators.write(command.applied)
        measured = self._actuators.measure()
        self._wiring.readings.write(
            Reading(
                time_s=measured.time_s,
                trip=self._trip,
                trip_raise=self._trip_raise,
                position=measured.position,
                speed=measured.speed,
            )
        )

    def _followed(self, tick: Tick) -> Command | None:
        """Return the command to follow, or None to stop."""
        line, command = self._wiring.line.read(), self._wiring.commands.read()
        if line is None or line.state is not LineState.UP:
            return None
        if line.raises > self._trip_raise:
            self._trip = Trip.NONE
        if self._trip is Trip.NONE:
            self._trip, self._trip_raise = self._fault(tick, line, command), line.raises
        if self._trip is not Trip.NONE or command is None or command.stopping:
            return None
        return command

    def _fault(self, tick: Tick, line: Line, command: Command | None) -> Trip:
        if tick.late_s > self._bounds.command_s:
            return Trip.LATE
        if tick.now_s - line.time_s > self._bounds.line_s:
            return Trip.WATCHDOG_SILENT
        if command is None or tick.now_s - command.time_s > self._bounds.command_s:
            return Trip.COMMAND_OLD
        if not np.isfinite(command.applied).all():
            return Trip.COMMAND_BROKEN
        return Trip.NONE

    def close(self) -> None:
        """Stop and let go of the motors."""
        self._actuators.stop()
        self._actuators.close()
