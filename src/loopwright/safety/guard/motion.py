"""What a simulated robot did, step by step, recorded by its own drive so that it can happen again.

A guard records what it commanded. Drive and guard do not wait for each other, so the drive may have
followed a command twice, or none of it: a guard's flight cannot be replayed. This one can. It is a
flight like any other (see :mod:`loopwright.safety.blackbox`), with a snapshot at every second and
wherever the robot begins to move or to stop.

Only who simulates can do this, and only for a robot alone in its simulation: where several share
one, the others' motion is part of the state, and the whole world must be recorded instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from loopwright.core.errors import RecorderLost
from loopwright.core.stage import environment_digest
from loopwright.safety.blackbox.fields import StepRecord
from loopwright.safety.blackbox.header import NONE, FlightHeader
from loopwright.safety.blackbox.recorder import BlackBox
from loopwright.safety.body import BodySpec, Measured, Plant, RobotEntry
from loopwright.safety.decision import Reason
from loopwright.safety.guard.stops import say
from loopwright.safety.keys import SigningKey


class MotionFlight:
    """The flight of one drive. When it is lost the robot goes on: a stop must not wait for a disk.

    That there is no motion without a recorder is the guard's business.
    """

    def __init__(self, box: BlackBox, clock: Callable[[], float] = time.monotonic) -> None:
        """Record into a box from now on."""
        self._box: BlackBox | None = box
        self._clock, self._step = clock, 0
        self._stopping: bool | None = None

    def before(
        self, plant: Plant, measured: Measured, applied: np.ndarray, *, stopping: bool
    ) -> None:
        """Record a control step that is about to happen.

        Args:
            plant: In the state that the step begins with.
            measured: That state, as its sensors tell it.
            applied: What it will follow, unless it stops.
            stopping: Whether the step is one of the safe state.
        """
        if self._box is None:
            return
        self._step += 1
        now_s = self._clock()
        try:
            if stopping != self._stopping or self._box.snapshot_due:
                self._box.snapshot(plant.save(), self._step)
            self._box.step(
                StepRecord(
                    sequence=self._step,
                    monotonic_s=now_s,
                    requested=applied,
                    request_age_s=0.0,
                    position=measured.position,
                    speed=measured.speed,
                    sensor_age_s=now_s - measured.time_s,
                    applied=applied,
                    reason=Reason.BRAKED if stopping else Reason.UNALTERED,
                    margin=float("nan"),
                    stopping=stopping,
                )
            )
        except RecorderLost as error:
            say(f"the motion is no longer recorded: {error}")
            self.close()
        self._stopping = stopping

    def close(self) -> None:
        """End the flight; idempotent."""
        box, self._box = self._box, None
        if box is not None:
            try:
                box.close()
            except RecorderLost as error:
                say(f"the recording of the motion could not be ended: {error}")


def begin_motion_flight(
    robot: str, entry: RobotEntry, spec: BodySpec, *, folder: str, key: str, **said: str
) -> MotionFlight:
    """Begin a flight in a new file, ``ROBOT.drive-DATE.flight``.

    Args:
        robot: Name within the cell.
        entry: How to come by the robot.
        spec: Of the robot.
        folder: Where flights lie.
        key: File with the recorder's private key.
        **said: ``second_place``, as for the guard's black box.

    Raises:
        RecorderLost: The operating system refused.
    """
    header = FlightHeader(
        robot_id=robot,
        robot=entry,
        body=spec,
        candidate=NONE,
        certificate=NONE,
        filter=NONE,
        limits={},
        instruction=NONE,
        build=environment_digest(),
    )
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    second_place = said.get("second_place")
    box = BlackBox(
        Path(folder) / f"{robot}.drive-{date}.flight",
        header,
        SigningKey.read(Path(key)),
        None if second_place is None else Path(second_place),
    )
    return MotionFlight(box)
