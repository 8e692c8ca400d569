"""Metrics as JSON lines: one object per logged step, in a file that survives a crash.

The file is what counts. Mirrors show the same numbers where people are used to look; one that
fails stops training, as any other error of the user's set-up does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from loopwright.core.digest import canonical_json
from loopwright.core.errors import MissingExtra


class Mirror(Protocol):
    """Shows metrics elsewhere."""

    def begin(self, step: int) -> None:
        """Hear that training starts at a step; what was shown of later ones no longer holds."""
        ...

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of one step."""
        ...

    def end(self) -> None:
        """Hear that training is over, well or not."""
        ...


class MetricsFile:
    """An append-only file of ``{"step": ..., name: value, ...}`` lines."""

    def __init__(self, path: Path, *, resume_at: int, mirrors: Sequence[Mirror] = ()) -> None:
        """Open the file and forget every line at or after the step that training resumes at."""
        self.path, self._mirrors = path, mirrors
        kept = [line for line in read_metrics(path) if line["step"] < resume_at]
        path.write_bytes(b"".join(canonical_json(line) + b"\n" for line in kept))
        self._file = path.open("ab")
        for mirror in mirrors:
            mirror.begin(resume_at)

    def append(self, step: int, values: dict[str, float]) -> None:
        """Add one line."""
        self._file.write(canonical_json({"step": step, **values}) + b"\n")
        for mirror in self._mirrors:
            mirror.append(step, values)

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
        for mirror in self._mirrors:
            mirror.end()


class TensorBoard:
    """Shows metrics in TensorBoard: ``tensorboard --logdir FOLDER``."""

    def __init__(self, folder: Path) -> None:
        """Name the folder of the event files.

        Raises:
            MissingExtra: TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra("tensorboard", "tensorboard", "showing metrics") from error
        self._folder, self._kind = folder, SummaryWriter

    def begin(self, step: int) -> None:
        """Open a file that hides what earlier ones hold of this step and later ones."""
        self._writer = self._kind(str(self._folder), purge_step=step)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def end(self) -> None:
        """Close the file."""
        self._writer.close()


class MLflow:
    """Shows metrics as a run of MLflow; a training that is resumed goes on in the same run."""

    def __init__(self, folder: Path, *, experiment: str, address: str | None = None) -> None:
        """Name what the run belongs to.

        Args:
            folder: Where the id of the run is kept, so that a resumed training finds it.
            experiment: Name of the experiment.
            address: Tracking server or folder; None for MLflow's own default.

        Raises:
            MissingExtra: MLflow is not installed.
        """
        try:
            from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("mlflow", "mlflow", "showing metrics") from error
        self._client = MlflowClient(tracking_uri=address)
        self._path, self._experiment = folder / "mlflow-run", experiment

    def begin(self, step: int) -> None:
        """Find the run, or make one; MLflow keeps what was shown and adds to it."""
        if self._path.exists():
            self._run = self._path.read_text()
            return
        found = self._client.get_experiment_by_name(self._experiment)
        number = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(number).info.run_id
        self._path.write_text(self._run)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of one step."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def end(self) -> None:
        """Mark the run as over."""
        self._client.set_terminated(self._run)


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
