"""Models as ONNX files, each run and compared with the original before it is kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch

from loopwright.core.digest import Json
from loopwright.core.errors import LoopwrightError, MissingExtra, StorageError
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.core.stage import ProgressSink
from loopwright.models.deploy.graphs import (
    Graph,
    language_graphs,
    policy_graphs,
    text_picture_graphs,
)
from loopwright.models.deploy.opening import open_model
from loopwright.models.language import LanguageModel
from loopwright.models.registry import load_policy
from loopwright.models.wam.sample import WamPolicy

FLOAT_BOUND: Final = 1e-3
"""Most that a number may be off, as a share of the standard deviation of its output."""
CODE_BOUND: Final = 0.999
"""Least share of codes that must be equal: on the edge between two, rounding decides."""
PIXEL_BOUND: Final = 1
"""Most that a pixel may be off, of 255."""


class NotExported(LoopwrightError):
    """A model cannot be written as ONNX, or what was written computes something else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """One file, and how well it agrees."""

    file: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    size_bytes: int
    errors: Mapping[str, float]
    """Output to its largest error, in the unit of its bound."""
    bounds: Mapping[str, float]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Return plain data."""
        return {**asdict(self), "file": str(self.file)}


def export_onnx(
    folder: Path, file: Path, *, progress: ProgressSink = lambda _share, _what: None
) -> list[Exported]:
    """Write the functions of a model as ONNX.

    A model with one function gets ``file`` itself; others get a file each, named after it
    (``heart.onnx`` becomes ``heart-encoder.onnx``, ``heart-decoder.onnx``, ``heart-step.onnx``).

    Args:
        folder: A candidate, or a language model as Hugging Face writes it.
        file: Where to.
        progress: Told the finished fraction.

    Raises:
        NotExported: Something in the model has no form in ONNX, or the file computes something
            else; it is said what, and nothing is left of it.
        InvalidConfig: The folder holds a model of another family, or a quantised one.
        UnsafeCandidate: The folder holds a pickle.
        DamagedData: A file is corrupt or truncated.
        MissingExtra: A library is not installed.
        StorageError: A file cannot be written.
    """
    runtime = _import_runtime()
    progress(0.0, "reading the model")
    graphs = graphs_of(folder)
    made = []
    for number, graph in enumerate(graphs):
        place = file.with_name(f"{file.stem}-{graph.name}.onnx") if graph.name else file
        progress(number / len(graphs), f"writing {place.name}")
        made.append(_export(graph, place, runtime))
    return made


def graphs_of(folder: Path) -> list[Graph]:
    """Return the functions of a model in any family that can be exported."""
    if (folder / MANIFEST_NAME).is_file() and Candidate.open(folder).family == "wam":
        policy = load_policy(folder)
        assert isinstance(policy, WamPolicy)
        return policy_graphs(policy)
    model = open_model(folder)
    if isinstance(model, LanguageModel):
        return language_graphs(model)
    return text_picture_graphs(model)


def _export(graph: Graph, place: Path, runtime: ModuleType) -> Exported:
    part = place.with_name(f".{place.name}")
    try:
        _write(graph, part)
        errors, bounds = _compare(graph, part, runtime)
        os.replace(part, place)
    except OSError as error:
        raise StorageError(f"{place} could not be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return Exported(
        file=place,
        inputs=tuple(graph.checks[0]),
        outputs=graph.outputs,
        size_bytes=place.stat().st_size,
        errors=errors,
        bounds=bounds,
        notes=graph.notes,
    )


def _write(graph: Graph, file: Path) -> None:
    first = graph.checks[0]
    # Dimensions of one name are one and the same wherever they appear.
    sizes = {
        name: torch.export.Dim(name, min=1 if name == "batch" else 2)
        for names in graph.moving.values()
        for name in names
    }
    shapes = {
        name: {place: sizes[size] for place, size in enumerate(graph.moving.get(name, ()))}
        for name in first
    }
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                graph.module.eval(),
                kwargs=first,
                dynamo=True,
                input_names=list(first),
                output_names=list(graph.outputs),
                dynamic_shapes=shapes,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = str(error).strip().splitlines()
        raise NotExported(
            f"{graph.name or 'the model'} has no form in ONNX: {reason[0] if reason else error!r}"
        ) from error
    program.save(file)


def _compare(
    graph: Graph, file: Path, runtime: ModuleType
) -> tuple[dict[str, float], dict[str, float]]:
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    errors: dict[str, float] = {}
    bounds: dict[str, float] = {}
    for inputs, expected in zip(graph.checks, graph.expected, strict=True):
        found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        for name, mine, its in zip(graph.outputs, expected, found, strict=True):
            error, bounds[name] = _error(mine.numpy(), np.asarray(its))
            errors[name] = max(errors.get(name, 0.0), error)
    for name, error in errors.items():
        # So written that what is no number is refused.
        if not error <= bounds[name]:
            raise NotExported(
                f"the output {name!r} of {graph.name or 'the model'} is off by {error:.3g}, more "
                f"than {bounds[name]:g}; it is not kept"
            )
    return errors, bounds


def _error(mine: np.ndarray, its: np.ndarray) -> tuple[float, float]:
    """Return how far an output is off, and how far it may be."""
    if mine.shape != its.shape:
        return float("inf"), 0.0
    if mine.dtype == np.uint8:
        return float(np.abs(mine.astype(int) - its.astype(int)).max()), PIXEL_BOUND
    if np.issubdtype(mine.dtype, np.integer):
        return float((mine != its).mean()), 1 - CODE_BOUND
    scale = max(float(mine.std()), 1e-6)
    return float(np.abs(mine - its).max()) / scale, FLOAT_BOUND


def _import_runtime() -> ModuleType:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "onnx", "export", "writing ONNX") from error
    return onnxruntime
