"""Where else metrics are shown: where people are used to look.

A mirror that cannot begin is an error of the set-up. One that fails later is left out, and training
goes on: the file of metrics is what counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from loopwright.core.errors import InvalidConfig, MissingExtra
from loopwright.core.learner import Mirror

MirrorName = Literal["tensorboard", "mlflow"]


def open_mirrors(names: Sequence[MirrorName], folder: Path, *, experiment: str) -> list[Mirror]:
    """Return the mirrors of these names.

    Args:
        names: Of what is to show the metrics.
        folder: Made once there is something to keep: TensorBoard's files in ``tensorboard/``, and
            which runs of MLflow are meant.
        experiment: Name of what is trained, for MLflow.

    Raises:
        MissingExtra: One of them is not installed.
        InvalidConfig: One of them cannot be used as it is set up.
    """
    mirrors: list[Mirror] = []
    for name in dict.fromkeys(names):
        if name == "tensorboard":
            mirrors.append(TensorBoard(folder / "tensorboard"))
        else:
            mirrors.append(MLflow(folder, experiment=experiment))
    return mirrors


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

    def begin(self, name: str, step: int) -> None:
        """Open a file that hides what earlier ones hold of this step and later ones."""
        self._writer = self._kind(str(self._folder / name), purge_step=step)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def end(self) -> None:
        """Close the file."""
        self._writer.close()


class MLflow:
    """Shows each training as a run of MLflow; one that is resumed goes on in the same run."""

    def __init__(self, folder: Path, *, experiment: str, address: str | None = None) -> None:
        """Name what the runs belong to.

        Args:
            folder: Where the ids of runs are kept, so that a resumed training finds its own.
            experiment: Name of the experiment.
            address: Tracking server or folder; None for MLflow's own default, which
                ``MLFLOW_TRACKING_URI`` changes.

        Raises:
            MissingExtra: MLflow is not installed.
            InvalidConfig: MLflow cannot work with that address.
        """
        try:
            from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
            from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtra("mlflow", "mlflow", "showing metrics") from error
        try:
            self._client = MlflowClient(tracking_uri=address)
        except MlflowException as error:
            raise InvalidConfig(
                f"MLflow cannot be used: {error}; name a tracking server in MLFLOW_TRACKING_URI"
            ) from error
        self._folder, self._experiment = folder, experiment

    def begin(self, name: str, step: int) -> None:
        """Find the run that a training goes on in, or make one where it begins.

        MLflow keeps what was shown and adds to it.
        """
        path = self._folder / f"mlflow-{name}"
        if step > 0 and path.exists():
            self._run = path.read_text()
            return
        found = self._client.get_experiment_by_name(self._experiment)
        number = found.experiment_id if found else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(number, run_name=name).info.run_id
        self._folder.mkdir(parents=True, exist_ok=True)
        path.write_text(self._run)

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of one step."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def end(self) -> None:
        """Mark the run as over."""
        self._client.set_terminated(self._run)
