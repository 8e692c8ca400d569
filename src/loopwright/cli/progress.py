"""A progress line for one long piece of work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loopwright.core.stage import ProgressSink

_SAY_EVERY_S = 10.0


@contextmanager
def progress_bar(label: str) -> Iterator[ProgressSink]:
    """Yield a sink that draws a bar at a terminal, and writes a line now and then elsewhere."""
    console = Console(stderr=True, highlight=False)
    said_s = time.monotonic()
    with Progress(
        TextColumn("[bold]{task.fields[label]}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %  {task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=1.0, label=label)

        def report(fraction: float, message: str) -> None:
            nonlocal said_s
            bar.update(task, completed=fraction, description=message)
            if not console.is_terminal and time.monotonic() - said_s > _SAY_EVERY_S:
                said_s = time.monotonic()
                console.print(f"{fraction:4.0%} {message}")

        yield report
