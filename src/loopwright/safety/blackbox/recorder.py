"""The recorder: called by the loop that moves the robot, once a control step.

What :meth:`BlackBox.step` has returned from survives the death of the process. Signing and waiting
for the disk happen in another thread, once a second; what goes wrong there is raised at the very
next step. Nothing is kept back to be written later: a step that cannot be recorded is an error.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from pathlib import Path
from types import TracebackType

from loopwright.core.errors import RecorderLost, StorageError
from loopwright.safety.blackbox.fields import Layout, StepFacts
from loopwright.safety.blackbox.header import (
    KIND_NOTE,
    KIND_SNAPSHOT,
    KIND_STEP,
    FlightHeader,
    clock_now,
    require_mandatory,
)
from loopwright.safety.chain import ChainWriter
from loopwright.safety.keys import SigningKey

SNAPSHOT_HEAD = struct.Struct("<Qd")
LONGEST_NOTE = 16_384
"""Characters of a note; what is beyond is left out, and said."""


class BlackBox:
    """Records one flight into a new file. One thread steps; any may add notes."""

    def __init__(
        self,
        path: Path,
        flight: FlightHeader,
        key: SigningKey,
        second_place: Path | None = None,
        *,
        checkpoint_s: float = 1.0,
        late_s: float = 10.0,
    ) -> None:
        """Begin a flight; its header and first signed head are on the disk when this returns.

        Args:
            path: A file that does not exist.
            flight: Who flies.
            key: Of this recorder; signs the heads.
            second_place: File or folder that gets every head too; on another machine or disk if
                possible, and where whoever could alter the flight cannot write.
            checkpoint_s: Seconds between two heads.
            late_s: A checkpoint that takes longer than this is a lost recorder.

        Raises:
            InvalidConfig: The file exists, or a mandatory field is empty.
            RecorderLost: The operating system refused.
        """
        header = {**flight.to_json(), "clock": clock_now()}
        require_mandatory(header)
        self.path = path
        self._layout = Layout(flight.body.size)
        self._lost: str | None = None
        self._snapshot_due_s = float("-inf")
        try:
            self._writer = ChainWriter.create(path, header, key, second_place)
        except StorageError as error:
            raise RecorderLost(f"no black box, no motion: {error}") from error
        self._checkpoints = _Checkpoints(self._writer, checkpoint_s, late_s)

    @property
    def id(self) -> str:
        """Digest of the first record, in hexadecimal: which flight it is."""
        return self._writer.id

    def step(self, facts: StepFacts) -> None:
        """Record a control step, before its command reaches the actuators.

        Raises:
            RecorderLost: It could not be recorded, or the signed heads no longer reach the disk.
                Every later call raises as well: begin a new flight.
        """
        self._append(KIND_STEP, self._layout.pack(facts))

    def note(self, channel: str, text: str) -> None:
        """Record an event in words, such as an instruction or a press of a button.

        Raises:
            RecorderLost: As for :meth:`step`.
        """
        if len(text) > LONGEST_NOTE:
            text = f"{text[:LONGEST_NOTE]} ... ({len(text)} characters)"
        note = {"monotonic_s": time.monotonic(), "channel": channel, "text": text}
        self._append(KIND_NOTE, json.dumps(note).encode())

    def snapshot(self, state: bytes, next_step: int) -> None:
        """Record the whole state of the integration, from which the flight can be replayed.

        Args:
            state: As :meth:`~loopwright.safety.body.Plant.save` returns it.
            next_step: Number of the step whose command is applied to exactly this state.

        Raises:
            RecorderLost: As for :meth:`step`.
        """
        now_s = time.monotonic()
        self._snapshot_due_s = now_s + 1.0
        self._append(KIND_SNAPSHOT, SNAPSHOT_HEAD.pack(next_step, now_s) + state)

    @property
    def snapshot_due(self) -> bool:
        """Whether the last snapshot is a second old; events ask for further ones."""
        return time.monotonic() >= self._snapshot_due_s

    def close(self) -> None:
        """End the flight in good order, with a final signed head; idempotent.

        A recorder that was lost before is closed without one.

        Raises:
            RecorderLost: The final head could not be stored.
        """
        trouble = self._checkpoints.stop()
        if self._lost is not None or trouble is not None:
            self._writer.abandon()
            if self._lost is None:
                raise self._lose(str(trouble))
            return
        try:
            self._writer.close()
        except StorageError as error:
            raise self._lose(str(error)) from error

    def __enter__(self) -> BlackBox:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the flight."""
        self.close()

    def _append(self, kind: int, payload: bytes) -> None:
        trouble = self._lost or self._checkpoints.trouble()
        if trouble is not None:
            raise self._lose(trouble)
        try:
            self._writer.append(kind, payload)
        except StorageError as error:
            raise self._lose(str(error)) from error

    def _lose(self, reason: str) -> RecorderLost:
        """Remember why nothing may be recorded any more: a gap in a flight is not mended."""
        self._lost = self._lost or reason
        return RecorderLost(f"the black box does not record, so nothing may move: {self._lost}")


class _Checkpoints:
    """The thread that signs heads and waits for the disk."""

    def __init__(self, writer: ChainWriter, every_s: float, late_s: float) -> None:
        self._writer, self._every_s, self._late_s = writer, every_s, late_s
        self._error: str | None = None
        self._alive_s = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def trouble(self) -> str | None:
        """Return what is wrong with the checkpoints, or None; costs next to nothing."""
        if self._error is not None:
            return self._error
        late_s = time.monotonic() - self._alive_s - self._every_s
        if late_s > self._late_s:
            return f"no checkpoint could be finished for {late_s:.1f} s"
        return None

    def stop(self) -> str | None:
        """End the thread, after the checkpoint it may be in; return what is wrong, or None."""
        self._stopping.set()
        self._thread.join(timeout=self._late_s)
        if self._thread.is_alive():
            self._error = self._error or "a checkpoint does not end"
        return self._error

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self._writer.checkpoint()
            except StorageError as error:
                self._error = str(error)
                return
            self._alive_s = time.monotonic()
