"""Pictures of the warehouse for people: seldom, small, and painted by somebody who may wait."""

from __future__ import annotations

import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path

from loopwright.core.errors import UnknownName
from loopwright.robot.drivers.warehouse.painter import CAMERAS, LENGTH
from loopwright.robot.knowledge import NoPicture

EVERY_S = 0.5
"""All cameras together paint so often at most; who asks sooner gets the picture there is."""
FIRST_WITHIN_S, WITHIN_S = 30.0, 10.0
IDLE_S = 60.0
"""A painter whom nobody asked for so long goes home."""


class WarehouseCameras:
    """Has pictures painted in a process that starts when the first is asked for."""

    def __init__(self, world: Path, log: Path) -> None:
        """Start nothing yet.

        Args:
            world: The shared memory of the simulated world.
            log: What the painter says.
        """
        self.names = CAMERAS
        self._world, self._log = world, log
        self._lock = threading.Lock()
        self._painter: subprocess.Popen[bytes] | None = None
        self._pictures: dict[str, tuple[float, bytes]] = {}
        self._painted_s = self._asked_s = 0.0
        self._ended = threading.Event()
        self._janitor = threading.Thread(target=self._send_home, name="cameras", daemon=True)
        self._janitor.start()

    def picture(self, name: str) -> bytes:
        """Return what a camera sees, as a JPEG; waits for its turn.

        Raises:
            UnknownName: There is no such camera.
            NoPicture: Nothing could be painted; the log says why.
        """
        if name not in self.names:
            raise UnknownName("camera", name, self.names)
        with self._lock:
            painted_s, known = self._pictures.get(name, (0.0, b""))
            self._asked_s = time.monotonic()
            if known and self._asked_s - painted_s < EVERY_S:
                return known
            time.sleep(max(0.0, self._painted_s + EVERY_S - self._asked_s))
            picture = self._painted(name)
            self._painted_s = time.monotonic()
            self._pictures[name] = (self._painted_s, picture)
            return picture

    def close(self) -> None:
        """Send the painter home; idempotent."""
        self._ended.set()
        self._janitor.join(timeout=WITHIN_S)
        with self._lock:
            self._dismiss()

    def _painted(self, name: str) -> bytes:
        within_s = WITHIN_S
        if self._painter is None:
            self._painter, within_s = self._hire(), FIRST_WITHIN_S
        until_s = time.monotonic() + within_s
        try:
            assert self._painter.stdin is not None
            self._painter.stdin.write(f"{name}\n".encode())
            self._painter.stdin.flush()
            (length,) = LENGTH.unpack(self._read(LENGTH.size, until_s))
            return self._read(length, until_s)
        except OSError as error:
            self._dismiss()
            raise NoPicture(f"the painter has ended ({error}); see {self._log}") from error

    def _read(self, length: int, until_s: float) -> bytes:
        assert self._painter is not None
        assert self._painter.stdout is not None
        found = b""
        # Not select.select: a process with a thousand open files gets numbers it cannot take.
        with selectors.DefaultSelector() as ready:
            ready.register(self._painter.stdout, selectors.EVENT_READ)
            while len(found) < length:
                left_s = until_s - time.monotonic()
                if left_s <= 0 or not ready.select(left_s):
                    raise OSError("it did not answer in time")
                block = self._painter.stdout.read(length - len(found))
                if not block:
                    raise OSError("it answers nothing any more")
                found += block
        return found

    def _hire(self) -> subprocess.Popen[bytes]:
        module = "loopwright.robot.drivers.warehouse.painter"
        with self._log.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", module, str(self._world)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                bufsize=0,
            )

    def _dismiss(self) -> None:
        if self._painter is not None:
            for pipe in (self._painter.stdin, self._painter.stdout):
                assert pipe is not None
                pipe.close()
            self._painter.kill()
            self._painter.wait()
            self._painter = None

    def _send_home(self) -> None:
        while not self._ended.wait(1.0):
            with self._lock:
                if self._painter and time.monotonic() - self._asked_s > IDLE_S:
                    self._dismiss()
