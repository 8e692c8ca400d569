"""A grid of training runs that survives being killed: each result is a line on disk."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from loopwright.core.digest import canonical_json, digest_json
from loopwright.core.errors import DamagedData, InvalidConfig, Unidentified, WorkspaceBusy
from loopwright.core.stage import ProgressSink
from loopwright.store.durable import storing, try_lock
from loopwright.train.scaling.design import check_design
from loopwright.train.scaling.law import ScalingRun
from loopwright.train.scaling.plan import FlopsPerToken, six_per_parameter


@dataclass(frozen=True, kw_only=True, slots=True)
class GridPoint:
    """One run to make."""

    label: str
    """What the size is called in its recipe."""
    params: float
    """Active parameters."""
    tokens: int
    seed: int = 0

    def flops(self, flops_per_token: FlopsPerToken) -> float:
        """Return the training FLOPs that this run will cost."""
        return flops_per_token(self.params) * self.tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The runs of a study, and one that is trained but kept from the fit."""

    points: tuple[GridPoint, ...]
    held_back: GridPoint | None = None

    def __post_init__(self) -> None:
        """Refuse the same run twice, and a grid that cannot tell a law before it costs anything."""
        if len(set(self.every)) < len(self.every):
            raise InvalidConfig("a grid point occurs twice; give the copies different seeds")
        check_design([p.params for p in self.points], [p.tokens for p in self.points])

    @property
    def every(self) -> tuple[GridPoint, ...]:
        """All runs to make, cheapest first so that a bad recipe shows early."""
        held_back = (self.held_back,) if self.held_back else ()
        return tuple(sorted(self.points + held_back, key=lambda p: p.params * p.tokens))

    def flops(self, flops_per_token: FlopsPerToken = six_per_parameter) -> float:
        """Return the training FLOPs of all runs together."""
        return sum(point.flops(flops_per_token) for point in self.every)


@dataclass(frozen=True, kw_only=True, slots=True)
class PointResult:
    """What training one point gave."""

    loss: float
    """Held-out loss in nats a token; NaN or infinite if training diverged."""
    flops: float | None = None
    """Training FLOPs as counted; None if nobody did."""


RunPoint = Callable[[GridPoint], PointResult]


@dataclass(frozen=True, kw_only=True, slots=True)
class GridResult:
    """What came of a grid."""

    runs: tuple[ScalingRun, ...]
    """Those to fit."""
    held_back: ScalingRun | None
    diverged: tuple[GridPoint, ...]
    """Left out of both: their loss was no number."""


def affordable_grid(
    sizes: Mapping[str, float],
    tokens: Sequence[int],
    *,
    budget_flops: float,
    flops_per_token: FlopsPerToken = six_per_parameter,
    hold_back: bool = True,
) -> Grid:
    """Return every size on every amount of data, less the dearest runs that a budget cannot pay.

    Args:
        sizes: Label to active parameters.
        tokens: Amounts of training data.
        budget_flops: For all runs together.
        flops_per_token: Training FLOPs of a token for a size.
        hold_back: Keep the dearest run that is paid for out of the fit, to check it.

    Raises:
        Unidentified: What the budget pays cannot tell a law; the message names the full cost.
    """
    everything = sorted(
        (GridPoint(label=k, params=n, tokens=d) for k, n in sizes.items() for d in tokens),
        key=lambda point: point.flops(flops_per_token),
    )
    paid, left = [], budget_flops
    for point in everything:
        left -= point.flops(flops_per_token)
        if left < 0:
            break
        paid.append(point)
    held_back = paid.pop() if hold_back and paid else None
    try:
        return Grid(points=tuple(paid), held_back=held_back)
    except Unidentified as error:
        cost = sum(point.flops(flops_per_token) for point in everything)
        raise Unidentified(
            f"{budget_flops:.3g} FLOPs pay for {len(paid)} of {len(everything)} runs to fit: "
            f"{error}; or raise the budget (the whole grid costs {cost:.3g} FLOPs)"
        ) from error


def run_grid(
    grid: Grid,
    run_point: RunPoint,
    *,
    results: Path,
    study: Mapping[str, Any],
    progress: ProgressSink = lambda fraction, message: None,
) -> GridResult:
    """Train every point that has no result yet, and return all results.

    A result is on disk before the next point begins, so a killed grid goes on where it was; only
    the point in flight is trained again. Points of other studies may share the file.

    Args:
        grid: What to train.
        run_point: Trains one point; same point, same result.
        results: JSON lines, one a finished point.
        study: Plain data that fixes what a result depends on besides the point: the recipe, the
            data, the code. Results of another study are not taken for this one's.
        progress: Told the finished share of compute and a message.

    Raises:
        DamagedData: The file holds something else than results.
        WorkspaceBusy: Another process is at the same file.
        StorageError: The disk refuses a line.
    """
    with _locked_lines(results) as lines:
        known = {line["key"]: line for line in lines.read()}
        done, total = 0.0, grid.flops()
        found: dict[GridPoint, ScalingRun | None] = {}
        for point in grid.every:
            key = digest_json({"study": dict(study), "point": asdict(point)})
            if key not in known:
                progress(done / total, f"{point.label} on {point.tokens:,} tokens")
                known[key] = _line(key, point, run_point(point))
                lines.append(known[key])
            done += point.flops(six_per_parameter)
            found[point] = _run(known[key])
        progress(1.0, f"{len(found)} runs")
    return _result(grid, found)


def _line(key: str, point: GridPoint, result: PointResult) -> dict[str, Any]:
    loss = result.loss if math.isfinite(result.loss) else None
    return {"key": key, **asdict(point), "loss": loss, "flops": result.flops}


def _run(line: Mapping[str, Any]) -> ScalingRun | None:
    if line["loss"] is None:
        return None
    fields = ("label", "params", "tokens", "loss", "flops")
    return ScalingRun(**{name: line[name] for name in fields})


def _result(grid: Grid, found: Mapping[GridPoint, ScalingRun | None]) -> GridResult:
    fitted = [found[point] for point in grid.points]
    return GridResult(
        runs=tuple(run for run in fitted if run is not None),
        held_back=found[grid.held_back] if grid.held_back else None,
        diverged=tuple(point for point, run in found.items() if run is None),
    )


class _Lines:
    """A file of JSON lines, open for reading and for adding."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file

    def read(self) -> list[dict[str, Any]]:
        """Return the whole lines, and cut off one that a crash has torn."""
        self._file.seek(0)
        whole, newline, torn = self._file.read().rpartition(b"\n")
        if torn:
            self._file.truncate(len(whole) + len(newline))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise DamagedData(
                f"the grid results {self._path} hold a line that is no JSON: {error}; remove that "
                "line to train its point again"
            ) from error

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line and make sure that it stays."""
        with storing(self._path):
            self._file.write(canonical_json(line) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


@contextmanager
def _locked_lines(path: Path) -> Iterator[_Lines]:
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    with file:
        if not try_lock(file.fileno()):
            raise WorkspaceBusy(f"another process is training the grid of {path}; wait or stop it")
        yield _Lines(path, file)
