"""Progress on stderr: live bars at a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, track

from loopwright.core.stage import Receipt, StageSpec

Item = TypeVar("Item")


class ProgressDisplay:
    """Shows running stages; a context manager. Its methods may be called from any thread."""

    def __init__(self, console: Console | None = None) -> None:
        """Write to ``console`` (stderr by default)."""
        self._console = console or Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._labels: dict[str, str] = {}
        self._said_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> ProgressDisplay:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def stage_began(self, spec: StageSpec, label: str) -> None:
        """Show a bar for a stage."""
        with self._lock:
            self._labels[spec.key] = label
            self._said_s[spec.key] = time.monotonic()
            self._tasks[spec.key] = self._progress.add_task(label, total=1.0, note="")

    def stage_progress(self, spec: StageSpec, fraction: float, message: str) -> None:
        """Move the bar of a stage."""
        with self._lock:
            if (task := self._tasks.get(spec.key)) is None:
                return
            self._progress.update(task, completed=fraction, note=message)
            # Without a terminal a line now and then tells that it is alive.
            if not self._live and time.monotonic() - self._said_s[spec.key] > 10:
                self._said_s[spec.key] = time.monotonic()
                self._console.print(f"    {self._labels[spec.key]}: {message}")

    def stage_ended(self, spec: StageSpec, receipt: Receipt | None) -> None:
        """Replace the bar by one line."""
        with self._lock:
            task = self._tasks.pop(spec.key, None)
            label = self._labels.pop(spec.key, spec.name)
            if task is not None:
                self._progress.remove_task(task)
        if receipt is None:
            self._console.print(f"  [red]✗[/] {label}")
        else:
            self._console.print(f"  [green]✓[/] {label}  [dim]{receipt.cost.cpu_s:.1f} CPU-s[/]")

    def say(self, message: str) -> None:
        """Show one line that stays."""
        self._console.print(message)


def stdout_console() -> Console:
    """Return a console for data on stdout."""
    return Console(file=sys.stdout, highlight=False)


def progress_of(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield ``items`` behind a progress bar on stderr."""
    yield from track(items, description=what, console=Console(stderr=True), transient=True)
