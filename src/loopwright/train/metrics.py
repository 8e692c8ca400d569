"""Metrics as JSON lines: one object per logged step, in a file that survives a crash.

The file is what counts. Mirrors (:mod:`loopwright.train.mirrors`) show the same numbers elsewhere.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.core.learner import Mirror
from loopwright.train.checkpoint import write_atomically

_log = logging.getLogger(__name__)


class MetricsFile:
    """An append-only file of ``{"step": ..., name: value, ...}`` lines."""

    def __init__(self, path: Path, *, resume_at: int, mirrors: Sequence[Mirror] = ()) -> None:
        """Open the file and forget every line at or after the step that training resumes at.

        Raises:
            DamagedData: A line of the file is not what was written.
            InvalidConfig: A mirror cannot begin.
        """
        self.path, self._mirrors = path, list(mirrors)
        kept = [line for line in read_metrics(path) if line["step"] < resume_at]
        write_atomically(path, *(canonical_json(line) + b"\n" for line in kept))
        for mirror in mirrors:
            try:
                mirror.begin(path.stem, resume_at)
            except Exception as error:
                raise InvalidConfig(
                    f"{type(mirror).__name__} cannot show metrics: {error}; set it up, or train "
                    "without that --mirror"
                ) from error
        self._file = path.open("ab")

    def append(self, step: int, values: dict[str, float]) -> None:
        """Add one line."""
        self._file.write(canonical_json({"step": step, **values}) + b"\n")
        self._show(lambda mirror: mirror.append(step, values))

    def sync(self) -> None:
        """Make sure that every line so far outlives a crash; call it before a checkpoint."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> MetricsFile:
        """Keep the file open inside the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Write out what is left, also when training failed."""
        self.sync()
        self._file.close()
        self._show(lambda mirror: mirror.end())

    def _show(self, act: Callable[[Mirror], None]) -> None:
        for mirror in tuple(self._mirrors):
            try:
                act(mirror)
            except Exception as error:  # noqa: BLE001 - a server fails in ways of its own
                self._mirrors.remove(mirror)
                _log.warning(
                    "%s shows no more metrics of this training, which goes on; %s holds them: %s",
                    type(mirror).__name__,
                    self.path,
                    error,
                )


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the whole lines of a metrics file; a line torn by a crash is left out.

    Raises:
        DamagedData: A whole line is not what was written.
    """
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [_line(path, number, line) for number, line in enumerate(whole.split(b"\n"), 1) if line]


def _line(path: Path, number: int, line: bytes) -> dict[str, float]:
    try:
        values = json.loads(line)
    except ValueError as error:
        values, why = None, str(error)
    else:
        why = "it is no object with a number for 'step'"
    if not isinstance(values, dict) or not isinstance(values.get("step"), int | float):
        raise DamagedData(
            f"line {number} of the metrics {path} is damaged: {why}; delete the line, which "
            "training does not depend on, and start again"
        )
    return values


def curves(lines: list[dict[str, float]], *, points: int = 100) -> dict[str, list[list[float]]]:
    """Return ``{name: [[step, value], ...]}`` with at most ``points`` points each.

    A point is the mean over its share of the lines, placed at the last step of the share.
    """
    if not lines:
        return {}
    share = -(-len(lines) // points)
    groups = [lines[i : i + share] for i in range(0, len(lines), share)]
    return {
        name: [[g[-1]["step"], round(sum(line[name] for line in g) / len(g), 6)] for g in groups]
        for name in lines[0]
        if name != "step"
    }
