"""Metrics as JSON lines: one object per logged step, in a file that survives a crash."""

from __future__ import annotations

import json
import os
from pathlib import Path

from loopwright.core.digest import canonical_json


class MetricsFile:
    """An append-only file of ``{"step": ..., name: value, ...}`` lines."""

    def __init__(self, path: Path, *, resume_at: int) -> None:
        """Open the file and forget every line at or after the step that training resumes at."""
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] < resume_at]
        path.write_bytes(b"".join(canonical_json(line) + b"\n" for line in kept))
        self._file = path.open("ab")

    def append(self, step: int, values: dict[str, float]) -> None:
        """Add one line."""
        self._file.write(canonical_json({"step": step, **values}) + b"\n")

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


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the whole lines of a metrics file; a line torn by a crash is left out."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines() if line]


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
