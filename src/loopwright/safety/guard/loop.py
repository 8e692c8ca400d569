"""The guard of one robot: at every beat it decides, records, and only then commands.

It is in one of three states (:class:`~loopwright.safety.guard.signals.GuardState`). While the line
is up, everything that is wrong latches it: a late beat, an old reading, a silent policy or
watchdog, a brake of the filter, a directive, a recorder that does not record. While the line is
not up the same things only hold it, since nothing moves and nothing need be released.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from loopwright.core.errors import RecorderLost, StorageError
from loopwright.safety.body import BodySpec, Measured
from loopwright.safety.decision import Decision, Reason
from loopwright.safety.guard.clock import Tick
from loopwright.safety.guard.config import Bounds
from loopwright.safety.guard.ports import Filter, Leave, Recorder, StepFacts, Watch
from loopwright.safety.guard.releases import Releases
from loopwright.safety.guard.signals import (
    Command,
    GuardState,
    Line,
    LineState,
    Reader,
    Reading,
    Request,
    Writer,
)
from loopwright.safety.guard.stops import StopLog, say, utc_now


@dataclass(frozen=True, kw_only=True, slots=True)
class Wiring:
    """The signals of one guard."""

    requests: Reader[Request]
    readings: Reader[Reading]
    line: Reader[Line]
    commands: Writer[Command]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a guard works with."""

    safety_filter: Filter
    """Judges the requests."""
    make_recorder: Callable[[], Recorder]
    """Opens a black box; called again after a release when it was lost."""
    watch: Watch | None
    """Directives and lease; None where none reach."""
    releases: Releases
    """Where operators' releases are found."""
    log: StopLog
    """The second place for reasons."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a robot must stand still."""

    reason: Reason
    detail: str
    own: bool = True
    """False where the line brought it: the fault is somebody else's, or known already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scene:
    """What the guard sees at one beat."""

    tick: Tick
    line: Line | None
    reading: Reading | None
    request: Request | None
    """None where there is none that counts: never sent, or before the line was raised."""
    leave: Leave

    @property
    def up(self) -> bool:
        return self.line is not None and self.line.state is LineState.UP


class Guard:
    """Stands between one policy and one drive."""

    def __init__(
        self,
        *,
        name: str,
        place: int,
        spec: BodySpec,
        wiring: Wiring,
        parts: Parts,
        bounds: Bounds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over a robot; after an earlier guard it stands latched from its first beat.

        Args:
            name: Of the robot within its cell.
            place: Its place within the cell.
            spec: Of the robot.
            wiring: Its signals.
            parts: What it works with.
            bounds: How long to wait for others.
            clock: ``time.monotonic``.

        Raises:
            RecorderLost: There is no black box to begin with.
        """
        self._name, self._place, self._spec, self._wiring = name, place, spec, wiring
        self._filter, self._watch, self._log = parts.safety_filter, parts.watch, parts.log
        self._make_recorder, self._releases = parts.make_recorder, parts.releases
        self._bounds, self._clock = bounds, clock
        self._recorder: Recorder | None = parts.make_recorder()
        self._lost_recorder: Recorder | None = None
        self._latch: Problem | None = None
        self._released_stop, self._released_s = 0, float("-inf")
        self._moving = False
        self._untold: list[tuple[str, dict[str, Any]]] = []
        """Events that neither log nor black box know of yet."""
        self._zeros = np.zeros(spec.size)
        self._nothing = np.full(spec.size, np.nan)
        earlier = wiring.commands.last
        self._step, self._latches = (earlier.step, earlier.latches) if earlier else (0, 0)
        if earlier is not None and earlier.state is not GuardState.ENDED:
            self._shut(Problem(reason=Reason.DEADLINE, detail="the guard was restarted"))

    @property
    def latch(self) -> Problem | None:
        """Why it is latched, or None."""
        return self._latch

    def beat(self, tick: Tick) -> Command:
        """Decide, record, command: one control step.

        Args:
            tick: When it was due, and when it begins.
        """
        scene = self._look(tick)
        self._step += 1
        if self._latch is not None:
            self._try_release(scene)
        problem = self._latch or self._problem(scene)
        if problem is not None and self._latch is None and (scene.up or not problem.own):
            self._shut(problem)
        decision = self._decide(scene, problem)
        self._record(scene, decision)
        overdue_s = self._clock() - tick.now_s
        if overdue_s > self._bounds.late_s and scene.up and self._latch is None:
            detail = f"the step took {1e3 * overdue_s:.1f} ms"
            self._shut(Problem(reason=Reason.DEADLINE, detail=detail))
        if self._latch is not None and not decision.stopping:
            decision = self._stopped(self._latch.reason)
        command = self._command(scene, decision, problem)
        self._tell()
        return command

    def _look(self, tick: Tick) -> _Scene:
        line, request = self._wiring.line.read(), self._wiring.requests.read()
        if request is not None and (
            line is None or request.time_s <= max(line.since_s, self._released_s)
        ):
            request = None
        leave = Leave() if self._watch is None else self._watch.poll(tick.now_s)
        return _Scene(
            tick=tick,
            line=line,
            reading=self._wiring.readings.read(),
            request=request,
            leave=leave,
        )

    def _problem(self, scene: _Scene) -> Problem | None:
        """Return the first thing that is wrong, the most telling first."""
        return (
            self._line_problem(scene)
            or self._time_problem(scene)
            or self._leave_problem(scene)
            or self._policy_problem(scene)
        )

    def _line_problem(self, scene: _Scene) -> Problem | None:
        line = scene.line
        if line is None:
            return Problem(reason=Reason.DEADLINE, detail="there is no watchdog")
        if line.state is LineState.DOWN and line.stop > self._released_stop:
            own_fault = line.robot in (self._place, -1)
            reason = line.reason if own_fault else Reason.PEER
            return Problem(reason=reason, detail=f"stop {line.stop} of the cell", own=False)
        silent_s = scene.tick.now_s - line.time_s
        if silent_s > self._bounds.line_s:
            detail = f"the watchdog is silent for {1e3 * silent_s:.1f} ms"
            return Problem(reason=Reason.DEADLINE, detail=detail)
        return None

    def _time_problem(self, scene: _Scene) -> Problem | None:
        late_s = scene.tick.late_s
        if late_s > self._bounds.late_s:
            detail = f"the beat came {1e3 * late_s:.1f} ms late"
            return Problem(reason=Reason.DEADLINE, detail=detail)
        if scene.reading is None:
            return Problem(reason=Reason.STALE, detail="there is no drive")
        age_s = scene.tick.now_s - scene.reading.time_s
        if age_s > self._bounds.reading_s:
            detail = f"the drive is silent for {1e3 * age_s:.1f} ms"
            return Problem(reason=Reason.STALE, detail=detail)
        return None

    def _leave_problem(self, scene: _Scene) -> Problem | None:
        if scene.leave.reason is Reason.UNALTERED:
            return None
        return Problem(reason=scene.leave.reason, detail=scene.leave.detail)

    def _policy_problem(self, scene: _Scene) -> Problem | None:
        request = scene.request
        if not scene.up or request is None or request.resting:
            return None
        silent_s = scene.tick.now_s - request.time_s
        # A time that is no number, or lies in the future, is nothing that was heard.
        if abs(silent_s) <= self._bounds.policy_s:
            return None
        detail = f"the policy is silent for {1e3 * silent_s:.1f} ms"
        return Problem(reason=Reason.POLICY_LOST, detail=detail)

    def _decide(self, scene: _Scene, problem: Problem | None) -> Decision:
        if problem is not None:
            self._moving = False
            return self._stopped(problem.reason)
        request, reading = scene.request, scene.reading
        if not scene.up or request is None or request.resting or reading is None:
            self._moving = False
            return self._stopped(Reason.BRAKED)
        measured = Measured(position=reading.position, speed=reading.speed, time_s=reading.time_s)
        if not self._moving:
            self._filter.reset(measured)
            self._moving = True
        decision = self._filter.step(request.asked, request.time_s, measured)
        if decision.stopping:
            detail = f"the filter braked, margin {decision.margin:.3f}"
            self._shut(Problem(reason=decision.reason, detail=detail))
        return decision

    def _stopped(self, reason: Reason) -> Decision:
        return Decision(applied=self._zeros, reason=reason, margin=float("nan"), stopping=True)

    def _record(self, scene: _Scene, decision: Decision) -> None:
        """Record a step before it happens; latch where that fails."""
        if self._recorder is None:
            return
        now_s = scene.tick.now_s
        request, reading = scene.request, scene.reading
        facts = StepFacts(
            sequence=self._step,
            monotonic_s=now_s,
            requested=self._nothing if request is None else request.asked,
            request_age_s=float("inf") if request is None else now_s - request.time_s,
            position=self._nothing if reading is None else reading.position,
            speed=self._nothing if reading is None else reading.speed,
            sensor_age_s=float("inf") if reading is None else now_s - reading.time_s,
            applied=decision.applied,
            reason=decision.reason,
            margin=decision.margin,
            stopping=decision.stopping,
            directive_epoch=scene.leave.epoch,
            lease_left_s=scene.leave.lease_left_s,
        )
        try:
            self._recorder.step(facts)
        except RecorderLost as error:
            self._lose_recorder(error)

    def _lose_recorder(self, error: RecorderLost) -> None:
        self._lost_recorder, self._recorder = self._recorder, None
        if self._latch is None:
            self._shut(Problem(reason=Reason.RECORDER, detail=str(error)))

    def _shut(self, problem: Problem) -> None:
        """Latch; the first cause is kept. Why is told when the stop has been commanded."""
        self._latch, self._moving = problem, False
        self._latches += problem.own
        self._filter.latch(problem.reason)
        said = {"reason": problem.reason.name, "detail": problem.detail, "own": problem.own}
        self._untold.append(("latched", {**said, "latches": self._latches}))

    def _tell(self) -> None:
        """Tell black box and second place what happened; the disk may take its time now."""
        while self._untold:
            event, content = self._untold.pop(0)
            content = {"robot": self._name, "step": self._step, "utc": utc_now(), **content}
            try:
                # The watchdog waits for the disk; here the write itself is enough.
                self._log.append(event, {"time_s": self._clock(), **content}, sync=False)
            except StorageError as error:
                say(f"{event} {json.dumps(content)}: {error}")
            if self._recorder is not None:
                try:
                    self._recorder.note("guard", f"{event} {json.dumps(content)}")
                except RecorderLost as error:
                    self._lose_recorder(error)

    def _try_release(self, scene: _Scene) -> None:
        """Unlatch if an operator has released the newest stop, and it covers this latch."""
        latch, line = self._latch, scene.line
        if latch is None or line is None or line.state is LineState.UP:
            return
        refused = self._releases.refused
        found = self._releases.of(line.stop, scene.tick.now_s)
        if self._releases.refused != refused:
            self._untold.append(("release-refused", {"detail": self._releases.refused}))
        if found is None:
            return
        stop, person = found
        if latch.own and stop.latches.get(self._name) != self._latches:
            return
        self._unlatch(stop.number, person, scene.tick.now_s)

    def _unlatch(self, stop: int, person: str, now_s: float) -> None:
        if not self._record_again():
            return
        self._latch = None
        self._released_stop, self._released_s = stop, now_s
        self._filter.release()
        self._untold.append(("released", {"number": stop, "person": person}))

    def _record_again(self) -> bool:
        """Begin a new recording where the last one was lost; this may take its time."""
        if self._recorder is not None:
            return True
        if self._lost_recorder is not None:
            with contextlib.suppress(RecorderLost):
                self._lost_recorder.close()
            self._lost_recorder = None
        with contextlib.suppress(RecorderLost):
            self._recorder = self._make_recorder()
        return self._recorder is not None

    def _command(self, scene: _Scene, decision: Decision, problem: Problem | None) -> Command:
        state = GuardState.READY
        if self._latch is not None:
            state = GuardState.LATCHED
        elif problem is not None:
            state = GuardState.HELD
        return self._publish(scene.tick.now_s, decision, state)

    def _publish(self, time_s: float, decision: Decision, state: GuardState) -> Command:
        command = Command(
            time_s=time_s,
            step=self._step,
            stopping=decision.stopping,
            reason=decision.reason,
            state=state,
            latches=self._latches,
            applied=decision.applied,
        )
        self._wiring.commands.write(command)
        return command

    def close(self) -> None:
        """End in good order: a last word that stops, and a closed recording.

        Raises:
            RecorderLost: The recording could not be closed.
        """
        ended = GuardState.ENDED if self._latch is None else GuardState.LATCHED
        self._publish(self._clock(), self._stopped(Reason.BRAKED), ended)
        self._tell()
        if self._recorder is not None:
            self._recorder.close()
