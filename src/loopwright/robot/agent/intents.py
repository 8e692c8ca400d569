"""What an agent has heard and begun, on its own disk: no attempt is ever begun twice.

One line of JSON for every change, durable before the robot moves. After a crash the last line of
an attempt says how it stands; a line cut short by the crash was never acted on.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from loopwright.core.errors import StorageError
from loopwright.robot.messages import Ended, IntentStanding, message_from_json


class IntentLog:
    """Append-only record of attempts."""

    def __init__(self, path: Path) -> None:
        """Open or make the record; what had begun and not ended is ``interrupted`` from now on.

        Raises:
            StorageError: It cannot be opened or made.
        """
        self.path = path
        self._standing: dict[str, IntentStanding] = {}
        self._ended: dict[str, Ended] = {}
        self._lock = threading.Lock()
        self.epoch = 0
        """The newest coordinator epoch that was heard of."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            raw = path.read_bytes()
            whole = raw[: raw.rfind(b"\n") + 1]
            os.ftruncate(self._file, len(whole))
        except OSError as error:
            raise StorageError(f"{path} cannot be opened: {error}; no order is taken") from error
        for line in whole.splitlines():
            self._read(json.loads(line))
        for intent, standing in self._standing.items():
            if standing == "running":
                self._standing[intent] = "interrupted"

    def standing(self, intent: str) -> IntentStanding:
        """Return what is known of an attempt."""
        return self._standing.get(intent, "never-heard")

    def report(self, intent: str) -> Ended | None:
        """Return the report of an attempt that has ended."""
        return self._ended.get(intent)

    def begin(self, intent: str) -> None:
        """Write down that an attempt begins; durable when this returns."""
        self._write({"began": intent})
        self._standing[intent] = "running"

    def end(self, report: Ended) -> None:
        """Write down how an attempt ended; durable when this returns."""
        self._write({"ended": report.to_json()})
        self._standing[report.intent] = "ended"
        self._ended[report.intent] = report

    def fence(self, epoch: int) -> bool:
        """Return whether a coordinator epoch is the newest; a newer one is remembered for ever."""
        with self._lock:
            if epoch > self.epoch:
                self._write({"epoch": epoch})
                self.epoch = epoch
            return epoch == self.epoch

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self, line: dict[str, Any]) -> None:
        if "epoch" in line:
            self.epoch = int(line["epoch"])
        elif "began" in line:
            self._standing[line["began"]] = "running"
        else:
            report = message_from_json(line["ended"])
            assert isinstance(report, Ended)
            self._standing[report.intent] = "ended"
            self._ended[report.intent] = report

    def _write(self, line: dict[str, Any]) -> None:
        try:
            os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")
            os.fdatasync(self._file)
        except OSError as error:
            raise StorageError(f"{self.path}: {error}; the order is refused") from error
