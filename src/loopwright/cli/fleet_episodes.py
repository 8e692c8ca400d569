"""Making episodes while the fleet goes on: in a process of its own, that yields to everybody."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from rich.console import Console

from loopwright.robot.journal import events as happened
from loopwright.robot.journal.journal import Entry


class EpisodesAside:
    """Makes episodes of what was attempted whenever a task has ended; a context manager.

    Leaving it waits for the last ones. What is not made then, because somebody is in a hurry, is
    made by ``loopwright robot episodes``, or when the fleet is started the next time.
    """

    def __init__(self, folder: Path) -> None:
        """Watch over the fleet of a folder."""
        self._folder = folder
        self._console = Console(stderr=True, highlight=False)
        self._wanted, self._ended = threading.Event(), threading.Event()
        self._due = False
        self._thread = threading.Thread(target=self._work, name="episodes", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EpisodesAside:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the last episodes, unless something went wrong."""
        self._ended.set()
        self._wanted.set()
        if kind is None:
            if self._due or self._is_making():
                self._console.print("making episodes of what was attempted ...")
            self._thread.join()
            self._complain()
        elif self._process is not None:
            self._process.terminate()

    def _is_making(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _complain(self) -> None:
        if self._process is not None and self._process.returncode:
            self._console.print(
                f"episodes are missing; {self._log} says why. Make them with: "
                f"loopwright robot episodes --folder {self._folder}",
                soft_wrap=True,
            )

    @property
    def _log(self) -> Path:
        return self._folder / "episodes.err"

    def take(self, entry: Entry) -> None:
        """Hear of an event of the journal; returns at once."""
        if isinstance(entry.event, happened.TaskEnded):
            self._due = True
            self._wanted.set()

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            is_last, is_due, self._due = self._ended.is_set(), self._due, False
            if is_due:
                self._make()
            if is_last:
                return

    def _make(self) -> None:
        command = [sys.executable, "-m", "loopwright", "robot", "episodes", "--aside", "--json"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--folder", str(self._folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
            self._process.wait()
