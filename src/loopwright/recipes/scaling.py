"""Scaling studies: a family of trainings, a grid over it, and what it says of larger ones."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loopwright import __version__
from loopwright.core.digest import Json, canonical_json
from loopwright.core.errors import DamagedData, InvalidConfig, Unidentified
from loopwright.core.learner import FitJob, LearnFunction
from loopwright.core.seeds import generator
from loopwright.core.stage import ProgressSink, resolve_entry
from loopwright.loop.config import Learner, build_corpora
from loopwright.recipes.registry import find_recipe
from loopwright.recipes.training import CANDIDATE, SCRATCH, Training, run_training
from loopwright.store.durable import write_text_file
from loopwright.train.scaling.density import MAX_EXTRAPOLATION, Density, density_at_loss
from loopwright.train.scaling.fit import Fit, fit
from loopwright.train.scaling.grid import Grid, GridPoint, PointResult, run_grid
from loopwright.train.scaling.law import Law
from loopwright.train.scaling.plan import FlopsPerToken, flops_per_token_of, plan, six_per_parameter
from loopwright.train.scaling.predict import HeldBack, compare
from loopwright.train.scaling.summary import summary

STUDY, LINES, SHARED, POINTS = "study.json", "grid.jsonl", "shared", "points"
"""What a study leaves in its folder: what it found, a line a run, what all runs share, the runs."""

_BUILT_IN = {
    "rehearsal": "loopwright.recipes.scaling:rehearsal",
    "wudao.scale": "loopwright.recipes.wudao_scale:wudao_scale",
}
_LARGER = 10.0
"""What is planned for if nobody names a budget: this many times the dearest run."""

MeasureFunction = Callable[[Path, Path | None, Sequence[Path]], Mapping[str, Json]]
"""``measure(model, shared, corpora)`` returns ``loss`` on the study's held-out data, active
``params`` and, if they are known, ``tokens`` of any model that can be compared with the family."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """One size of the family."""

    label: str
    params: int
    """Active parameters that grow with the size; embeddings are left out."""
    config: Mapping[str, Json] = field(default_factory=dict)
    """What this size adds to the learner's configuration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingStudy:
    """A family of trainings and the grid over it.

    A run is the learner with its own configuration, that of the size, and ``tokens``. It returns
    its held-out ``loss`` in nats a token (None if it ran away) and, if it counted them, ``flops``.
    """

    name: str
    learner: Learner
    sizes: tuple[Size, ...]
    tokens: tuple[int, ...]
    """Every size is trained on each amount."""
    held_back: tuple[Size, int] | None = None
    """A larger run that the fit does not see, and its tokens."""
    shared: Training | None = None
    """Trained once; its candidate is what every run starts from."""
    measure: str | None = None
    """Entry of a :data:`MeasureFunction`; without one only losses given by hand can be compared."""
    seed: int = 0
    caveats: tuple[str, ...] = ()
    """What a reader of the figures must know."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data: what is kept beside the findings."""
        return asdict(self)

    def identity(self) -> dict[str, Any]:
        """Return what the result of a run depends on, besides its place in the grid.

        Neither prose nor amounts of tokens are part of it: they may be added to a finished study.
        """
        sizes = (*self.sizes, *((self.held_back[0],) if self.held_back else ()))
        return {
            "learner": asdict(self.learner),
            "configs": {size.label: dict(size.config) for size in sizes},
        }

    @property
    def grid(self) -> Grid:
        """The runs to make."""
        held = self.held_back
        return Grid(
            points=tuple(
                self._point(size, tokens) for size in self.sizes for tokens in self.tokens
            ),
            held_back=self._point(*held) if held else None,
        )

    def size(self, label: str) -> Size:
        """Return the size of a run."""
        held = (self.held_back[0],) if self.held_back else ()
        return next(size for size in (*self.sizes, *held) if size.label == label)

    def _point(self, size: Size, tokens: int) -> GridPoint:
        return GridPoint(label=size.label, params=size.params, tokens=tokens, seed=self.seed)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Findings:
    """What a study found."""

    title: str
    fit: Fit
    held_back: tuple[HeldBack, ...]
    report: dict[str, Any]
    """Plain data that ``loopwright.report.scaling.ScalingReport`` reads."""


def get_study(name: str) -> ScalingStudy:
    """Return the scaling study that a recipe stands for.

    Args:
        name: A built-in name, that of an entry point, or a file ``path/to/recipe.py[:function]``.

    Raises:
        UnknownName: There is no such recipe; a near one is suggested.
        InvalidConfig: What was found is no study.
    """
    found = find_recipe(name, _BUILT_IN, study_names())()
    if not isinstance(found, ScalingStudy):
        raise InvalidConfig(
            f"recipe {name!r} is a {type(found).__name__}, expected a ScalingStudy; "
            "one training is started by 'loopwright train'"
        )
    return found


def study_names() -> list[str]:
    """Return the built-in names that :func:`get_study` finds, in order."""
    return sorted(_BUILT_IN)


def run_study(
    study: ScalingStudy,
    folder: Path,
    progress: ProgressSink,
    *,
    budgets_flops: Sequence[float] = (),
) -> Findings:
    """Train the grid, fit the law, and leave all of it in a folder.

    Started again after a crash, it goes on: a run that has a result is not made again.

    Args:
        study: What to train.
        folder: Where to; a changed study makes the runs that changed.
        progress: Told the finished fraction.
        budgets_flops: For which to plan; ten times the dearest run by default.

    Raises:
        Unidentified: No law can be told from the runs; the message says what to add.
        WorkspaceBusy: Another process is at the same folder.
    """
    corpora = build_corpora(study.learner, progress)
    start, identity = None, {"study": study.identity(), "version": __version__}
    if study.shared is not None:
        facts = run_training(study.shared, folder / SHARED, progress)
        start = folder / SHARED / CANDIDATE
        identity["start"] = facts["candidate"]
    family = _Family(study, folder / POINTS, corpora, start, progress)
    result = run_grid(
        study.grid, family.run, results=folder / LINES, study=identity, progress=family.began
    )
    if not result.runs:
        raise Unidentified("every run of the grid diverged; lower the learner's learning rates")
    fitted = fit(result.runs)
    flops_per_token = _flops_per_token(fitted)
    dearest = max(run.flops or flops_per_token(run.params) * run.tokens for run in fitted.runs)
    held = (compare(fitted, result.held_back),) if result.held_back else ()
    report = summary(
        study.name,
        fitted,
        plans=[plan(fitted, b, flops_per_token) for b in budgets_flops or [_LARGER * dearest]],
        held_back=held,
        flops_per_token=flops_per_token,
    )
    diverged = [f"{p.label} on {p.tokens:,} tokens ran away." for p in result.diverged]
    report["notes"] += [*diverged, *study.caveats]
    kept = {"study": study.to_json(), "report": report, "fit": fitted.to_json()}
    write_text_file(folder / STUDY, canonical_json(kept).decode(), "scaling_study")
    return Findings(title=study.name, fit=fitted, held_back=held, report=report)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A model that is held against a family."""

    params: float
    loss: float
    tokens: float | None = None
    """Trained on; None if nobody knows."""


def measure(folder: Path, model: Path, progress: ProgressSink) -> Member:
    """Return size and loss of a model on the held-out data of a finished study.

    Args:
        folder: Of the study.
        model: A candidate folder.
        progress: Told what is being done.

    Raises:
        InvalidConfig: The study cannot measure models, or not this one.
        DamagedData: The folder holds no finished study.
    """
    plan_of_study = read_study(folder)["study"]
    if not plan_of_study["measure"]:
        raise InvalidConfig(
            f"the study {plan_of_study['name']!r} cannot measure models; give the numbers by hand: "
            "--loss, --params and --tokens"
        )
    start = folder / SHARED / CANDIDATE if plan_of_study["shared"] else None
    corpora = build_corpora(Learner.from_json(plan_of_study["learner"]), progress)
    found = resolve_entry(plan_of_study["measure"])(model, start, corpora)
    return Member(params=found["params"], loss=found["loss"], tokens=found.get("tokens"))


def density_of(
    folder: Path,
    member: Member,
    *,
    reference_tokens: float | None = None,
    max_extrapolation: float = MAX_EXTRAPOLATION,
) -> Density:
    """Return how many parameters of a study's family a model is worth, over those it has.

    Args:
        folder: Of a finished study.
        member: The model.
        reference_tokens: Tokens of the imagined reference; the model's own by default, or the
            most of the grid where they are not known.
        max_extrapolation: How many times beyond the family an answer may lie.

    Raises:
        Unidentified: No member of the family reaches that loss, or only one far outside of it.
        DamagedData: The folder holds no finished study.
    """
    fitted = Fit.from_json(read_study(folder)["fit"])
    most = max(run.tokens for run in fitted.runs)
    return density_at_loss(
        fitted,
        params=member.params,
        loss=member.loss,
        reference_tokens=reference_tokens or member.tokens or most,
        max_extrapolation=max_extrapolation,
    )


def read_study(folder: Path) -> dict[str, Any]:
    """Return what :func:`run_study` left.

    Raises:
        InvalidConfig: There is no finished study.
        DamagedData: It is not what was written.
    """
    path = folder / STUDY
    if not path.is_file():
        raise InvalidConfig(
            f"{folder} holds no finished study; 'loopwright scale RECIPE --out {folder}' makes one"
        )
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedData(
            f"{path} cannot be read: {error}; run 'loopwright scale' again, which keeps its runs"
        ) from error


class _Family:
    """Makes the runs of a grid."""

    def __init__(
        self,
        study: ScalingStudy,
        folder: Path,
        corpora: Sequence[Path],
        start: Path | None,
        progress: ProgressSink,
    ) -> None:
        self.study, self.folder, self.corpora = study, folder, corpora
        self.start, self.progress = start, progress
        self._done = 0.0

    def began(self, fraction: float, message: str) -> None:
        self._done = fraction
        self.progress(fraction, message)

    def run(self, point: GridPoint) -> PointResult:
        size = self.study.size(point.label)
        learn: LearnFunction = resolve_entry(self.study.learner.entry)
        folder = self.folder / f"{point.label}-{point.tokens}-{point.seed}"
        facts = learn(
            {**self.study.learner.config, **size.config, "tokens": point.tokens},
            FitJob(
                episodes=(),
                seed=point.seed,
                out=folder / CANDIDATE,
                scratch=folder / SCRATCH,
                lineage={"study": self.study.name, "size": point.label},
                corpora=self.corpora,
                start=self.start,
                progress=lambda _, message: self.progress(self._done, f"{point.label}: {message}"),
            ),
        )
        self._check_size(point, facts)
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        loss, flops = facts["loss"], facts.get("flops")
        return PointResult(
            loss=math.nan if loss is None else _number(loss),
            flops=None if flops is None else _number(flops),
        )

    def _check_size(self, point: GridPoint, facts: Mapping[str, Json]) -> None:
        if facts.get("params", point.params) != point.params:
            raise InvalidConfig(
                f"the size {point.label!r} of {self.study.name!r} says {point.params:,} "
                f"parameters, its model has {facts['params']:,}; correct the recipe"
            )


def _number(value: Json) -> float:
    if not isinstance(value, int | float):
        raise InvalidConfig(f"a learner returned {value!r} for a loss or for FLOPs")
    return float(value)


def _flops_per_token(fitted: Fit) -> FlopsPerToken:
    try:
        return flops_per_token_of(fitted.runs)
    except Unidentified:
        return six_per_parameter


REHEARSED = Law(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.37)
"""What the runs of :func:`rehearsal` follow."""


def rehearsal() -> ScalingStudy:
    """Runs that follow a known law with 0.5 % of luck: shows in seconds what a study finds."""
    sizes = tuple(Size(label=label, params=n) for label, n in _REHEARSED_SIZES.items())
    return ScalingStudy(
        name="rehearsal",
        learner=Learner(entry="loopwright.recipes.scaling:rehearse", config={"luck": 0.005}),
        sizes=sizes,
        tokens=(20_000_000, 140_000_000, 1_000_000_000),
        held_back=(Size(label="100M", params=100_000_000), 3_000_000_000),
        measure="loopwright.recipes.scaling:read_measurement",
        caveats=("No model was trained: the losses are those of a law that was written down.",),
    )


_REHEARSED_SIZES = {"1M": 1_000_000, "3M": 3_000_000, "10M": 10_000_000, "30M": 30_000_000}


def rehearse(config: Mapping[str, Any], job: FitJob) -> dict[str, Json]:
    """Return the loss of :data:`REHEARSED` for a size, with luck; a stand-in for a learner."""
    label = str(job.lineage["size"])
    params = _REHEARSED_SIZES.get(label, 100_000_000)
    luck = generator(job.seed, "rehearsal", label, config["tokens"]).normal(0, config["luck"])
    return {"loss": REHEARSED.loss(float(params), float(config["tokens"])) * math.exp(luck)}


def read_measurement(model: Path, start: Path | None, corpora: Sequence[Path]) -> dict[str, Json]:
    """Read ``loss``, ``params`` and ``tokens`` from a JSON file; a stand-in for a measurement.

    Raises:
        InvalidConfig: It is no such file.
    """
    expected = "a rehearsal measures a JSON file with the numbers 'loss' and 'params'"
    try:
        said = json.loads(model.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"{model} cannot be read: {error}; {expected}") from error
    if not isinstance(said, dict) or not {"loss", "params"} <= said.keys():
        raise InvalidConfig(f"{model} holds {said!r}; {expected}")
    return said
