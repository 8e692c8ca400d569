"""What every benchmark shares: measurements, the machine they were made on, a table, a JSON file.

::

    with Benchmark("gate", "What the gate lets through", seeds=(1,)) as bench:
        for case in bench.track(cases[: 2 if bench.quick else None], "simulating"):
            bench.add(Measurement(metric="...", value=0.02, unit="share", target="<= 0.05"))

When the block ends well, a table goes to stdout and ``benchmarks/results/NAME.json`` is written;
when it raises, nothing is. Progress goes to stderr. ``QUICK=1`` in the environment asks for a run
of a few minutes on two cores; the file says so.
"""

from __future__ import annotations

import json
import operator
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loopwright.core.errors import InvalidConfig
from loopwright.core.stage import code_digest

T = TypeVar("T")

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("loopwright", "numpy", "torch", "mujoco", "metaworld", "gymnasium", "av", "pyarrow")
COMPARISONS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One measured number and what it is measured against."""

    metric: str
    value: float
    unit: str
    """``"ms CPU"``, ``"share of loops"``; a bare share is written ``"share"``."""
    interval: tuple[float, float] | None = None
    """95 % unless the metric says otherwise; None where the number is exact or single."""
    n: int | None = 1
    """How many independent trials are behind it; None for what is computed, not sampled."""
    compared_with: str = ""
    """The rival and its number, measured in the same run unless called published."""
    target: str = ""
    """``"<= 0.05"``, or empty where there is none."""
    holds: bool | None = None
    """Whether the target is met; worked out from the value when left open."""

    def __post_init__(self) -> None:
        """Hold the value against the target, unless the answer was given."""
        if self.target and self.holds is None:
            object.__setattr__(self, "holds", meets(self.value, self.target))


def meets(value: float, target: str) -> bool:
    """Tell whether a value meets a target such as ``"<= 0.05"``.

    Raises:
        InvalidConfig: The target is no comparison followed by a number.
    """
    sign, _, limit = target.partition(" ")
    if sign not in COMPARISONS:
        raise InvalidConfig(f"target {target!r}; expected like '<= 0.05', or pass holds=")
    try:
        return bool(COMPARISONS[sign](value, float(limit)))
    except ValueError:
        raise InvalidConfig(f"target {target!r} has no number after {sign!r}") from None


class Benchmark:
    """Collects the measurements of one benchmark; use it as a context manager."""

    def __init__(
        self, name: str, title: str, *, seeds: Sequence[int] = (), results: Path = RESULTS
    ) -> None:
        """Start the clocks.

        Args:
            name: Of the result file.
            title: Of the table.
            seeds: Everything random in it follows from these.
            results: Folder of the result file.
        """
        self.name, self.title, self.seeds = name, title, tuple(seeds)
        self.path = results / f"{name}.json"
        self.quick = os.environ.get("QUICK", "") not in ("", "0")
        self.measurements: list[Measurement] = []
        self.notes: list[str] = []
        self.details: list[dict[str, Any]] = []
        """What the measurements were made of, for whoever draws them; plain data."""
        self._stderr = Console(stderr=True)
        self._started = datetime.now(UTC)
        self._began_cpu_s, self._began_wall_s = cpu_seconds(), time.monotonic()
        self._load_at_start = os.getloadavg()

    def __enter__(self) -> Benchmark:
        """Say what is measured, and how thoroughly."""
        self.say(f"{self.title}{' (QUICK)' if self.quick else ''}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Print and write the results, unless the benchmark failed."""
        if kind is None:
            self.write()
            self.print()

    def add(self, measurement: Measurement) -> None:
        """Take in one measurement."""
        self.measurements.append(measurement)

    def note(self, text: str) -> None:
        """Keep a sentence that a reader of the numbers needs."""
        self.notes.append(text)

    def say(self, text: str) -> None:
        """Show one line of progress on stderr."""
        self._stderr.print(text, highlight=False)

    def track(self, items: Iterable[T], label: str) -> Iterator[T]:
        """Yield the items, with a progress bar on stderr."""
        items = list(items)
        with Progress(console=self._stderr, transient=True) as progress:
            yield from progress.track(items, description=label)
        self.say(f"{label}: {len(items)} done, {self.cpu_s:.0f} CPU-s so far")

    @property
    def cpu_s(self) -> float:
        """CPU-seconds of this process and its finished children since the start."""
        return cpu_seconds() - self._began_cpu_s

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "name": self.name,
            "title": self.title,
            "quick": self.quick,
            "measurements": [asdict(m) for m in self.measurements],
            "notes": self.notes,
            "details": self.details,
            "seeds": list(self.seeds),
            "started_utc": self._started.isoformat(timespec="seconds"),
            "cpu_s": round(self.cpu_s, 2),
            "wall_s": round(time.monotonic() - self._began_wall_s, 2),
            "load_average": {
                "at_start": [round(x, 2) for x in self._load_at_start],
                "at_end": [round(x, 2) for x in os.getloadavg()],
            },
            "machine": machine(),
            "versions": versions(),
            "code": code_digest(),
        }

    def write(self) -> None:
        """Write the result file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            self.to_json(), indent=1, ensure_ascii=False, allow_nan=False, default=_plain
        )
        partial = self.path.with_suffix(".partial")
        partial.write_text(text + "\n")
        partial.replace(self.path)

    def print(self) -> None:
        """Print the table and the notes on stdout."""
        out = Console() if sys.stdout.isatty() else Console(width=160)
        out.print(self.table())
        for note in self.notes:
            out.print(f"- {note}", highlight=False)
        judged = [m.holds for m in self.measurements if m.holds is not None]
        summary = f"{sum(judged)} of {len(judged)} targets hold; {self.cpu_s:.1f} CPU-s"
        out.print(f"{summary}; written to {self.path.name}", highlight=False)

    def table(self) -> Table:
        """Return the measurements as a table."""
        table = Table(title=self.title, title_justify="left")
        table.add_column("metric")
        for column in ("value", "interval", "n"):
            table.add_column(column, justify="right")
        for column in ("compared with", "target"):
            table.add_column(column)
        table.add_column("holds", justify="center")
        for m in self.measurements:
            table.add_row(
                m.metric,
                f"{figure(m.value)} {m.unit}",
                f"{figure(m.interval[0])} to {figure(m.interval[1])}" if m.interval else "",
                "exact" if m.n is None else f"{m.n:,}",
                m.compared_with,
                m.target,
                {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[m.holds],
            )
        return table


def _plain(value: object) -> Any:
    """Turn a NumPy scalar into the Python one; JSON knows nothing of either."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is no plain data; a result file holds numbers and text")


def figure(value: float) -> str:
    """Write a number with four significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cpu_seconds() -> float:
    """Return user and system CPU-seconds of this process and its finished children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def machine() -> dict[str, Any]:
    """Describe the hardware, without naming the host."""
    page_bytes, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(page_bytes * pages / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def versions() -> dict[str, str]:
    """Return the versions of Python and of those packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
