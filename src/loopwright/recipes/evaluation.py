"""Scoring a model: the task, the model, what it had learned, and where the result is kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loopwright.compute.execute import InProcessExecutor
from loopwright.core.digest import Json, digest_file
from loopwright.core.errors import InvalidConfig
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.core.stage import ProgressSink, Site, StageResult, StageSpec
from loopwright.loop.engine import Engine, Silence, Work
from loopwright.recipes.scorings import STAGE_NAME, Scoring
from loopwright.recipes.tasks import build_tasks
from loopwright.scenarios.emoji.corpus import cache_folder
from loopwright.store.corpus import open_corpus
from loopwright.store.workspace import Workspace
from loopwright.train.evaluate.contamination import Contamination, Examples, check
from loopwright.train.evaluate.request import TaskRequest
from loopwright.train.evaluate.run import Evaluation, evaluate
from loopwright.train.evaluate.task import AnyTask

UNSAID = "unsaid"
"""Stands for the digest of training data that a model does not name."""

_STAGE = "loopwright.recipes.evaluation:score_stage"
_SOURCE = "learned-"


def score(
    folder: Path,
    task: str,
    request: TaskRequest,
    progress: ProgressSink,
    *,
    seed: int = 0,
    learned_from: Sequence[Path] = (),
    workspace: Path | None = None,
) -> list[Scoring]:
    """Ask a model a task, list by list.

    Args:
        folder: A candidate, or a language model as Hugging Face writes it.
        task: Name of the task.
        request: Which items; the model's configuration is filled in.
        progress: Told the finished fraction of a list.
        seed: Of what is drawn at random.
        learned_from: Files that the model was trained on (corpora, texts, JSON lines). Corpora
            which its manifest names and which lie in the user's cache are found without.
        workspace: Keep the results in this workspace. A list that was scored there before, by this
            very code, is not scored again.

    Raises:
        UnknownName: There is no such task or list.
        InvalidConfig: The model is of another family, or the request lacks something.
        WorkspaceBusy: Another command holds the workspace.
    """
    manifest = Candidate.open(folder) if (folder / MANIFEST_NAME).is_file() else None
    request = replace(request, config=manifest.config if manifest else {})
    tasks = build_tasks(task, request)
    sources = _Sources.of(manifest, learned_from)
    if workspace is not None:
        work = _Recorded(folder=folder, task=task, request=request, sources=sources, seed=seed)
        return work.score(workspace, tasks, progress)
    model = load_for(next(iter(tasks.values())), folder)
    return [
        Scoring(name=name, facts=_facts(*_asked(asked, model, sources, seed, progress)))
        for name, asked in tasks.items()
    ]


def load_for(task: AnyTask, folder: Path) -> Any:
    """Return the model of a folder as a task asks it.

    Raises:
        InvalidConfig: It is of another family than the task asks.
    """
    if task.family == "wudao":
        from loopwright.models.wudao.sample import TextPictureModel  # here: it needs torch

        return TextPictureModel.load(folder)
    if task.family == "language":
        from loopwright.models.language.loading import load  # here: it needs torch

        return load(folder)
    raise InvalidConfig(
        f"the task {task.name!r} asks models of the family {task.family!r}, which cannot be loaded "
        "here; expected 'wudao' or 'language'"
    )


def score_stage(spec: StageSpec, site: Site) -> StageResult:
    """Score a candidate on one list of items: a stage, so that a ledger keeps it once for all.

    The verdict on each item is in an object, the means are facts of the receipt.
    """
    params: Any = spec.params
    task = build_tasks(params["task"], TaskRequest.from_json(params["request"]))[params["list"]]
    if task.digest != spec.inputs["task"]:
        raise InvalidConfig(
            f"the items of {params['task']!r} have the digest {task.digest[:12]}, asked for were "
            f"{spec.inputs['task'][:12]}; score the model again"
        )
    with Workspace.open(site.workspace) as workspace:
        objects, model = workspace.objects, site.scratch / "model"
        objects.checkout(spec.inputs["model"], model)
        files = []
        for name in sorted(name for name in spec.inputs if name.startswith(_SOURCE)):
            objects.checkout(spec.inputs[name], site.scratch / name)
            files += _training_files(site.scratch / name)
        sources = _Sources(files=tuple(files), missing=tuple(params["missing"]))
        found, known = _asked(task, load_for(task, model), sources, spec.seed, site.progress)
        verdicts = objects.put_json(_verdicts(found))
    return StageResult(outputs={"verdicts": verdicts}, facts=_facts(found, known))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sources:
    """What a model was trained on: files that are at hand, and digests of what is not."""

    files: tuple[Path, ...]
    missing: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Candidate | None, given: Sequence[Path]) -> _Sources:
        lineage: Mapping[str, Any] = manifest.lineage if manifest else {}
        named = [*lineage.get("corpora", ()), *filter(None, [lineage.get("data")])]
        # Nobody has these as a file: what a base had learned, and episodes.
        beyond = [str(lineage[name]) for name in ("base", "snapshot") if lineage.get(name)]
        files = {digest_file(path): path for path in given} | dict(_cached(set(named)))
        missing = [digest for digest in (*named, *beyond) if digest not in files]
        nothing_known = not files and not named and not beyond
        return cls(
            files=tuple(files.values()), missing=(UNSAID,) if nothing_known else tuple(missing)
        )

    def examples(self) -> Iterator[Examples]:
        return map(_examples, self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Recorded:
    """A scoring whose results a workspace keeps."""

    folder: Path
    task: str
    request: TaskRequest
    sources: _Sources
    seed: int

    def score(
        self, workspace: Path, tasks: Mapping[str, AnyTask], progress: ProgressSink
    ) -> list[Scoring]:
        with Workspace.create(workspace, exclusive=True) as opened:
            engine = Engine(opened, InProcessExecutor(), display=_Shown(progress), parallel=1)
            inputs = {"model": opened.objects.put_folder(self.folder)}
            for number, path in enumerate(self.sources.files):
                inputs[f"{_SOURCE}{number}"] = _kept(opened, path)
            works = [self._work(engine, name, task, inputs) for name, task in tasks.items()]
            receipts = [engine.run_all([work])[0] for work in works]
        return [
            Scoring(name=name, facts=receipt.result.facts, receipt=receipt.key)
            for name, receipt in zip(tasks, receipts, strict=True)
        ]

    def _work(self, engine: Engine, name: str, task: AnyTask, inputs: Mapping[str, str]) -> Work:
        params: dict[str, Json] = {
            "task": self.task,
            "list": name,
            "request": self.request.to_json(),
            "missing": list(self.sources.missing),
        }
        spec = engine.spec(
            STAGE_NAME,
            _STAGE,
            params=params,
            inputs={**inputs, "task": task.digest},
            seed=self.seed,
        )
        return Work(spec=spec, label=f"{self.task}, {name}")


class _Shown(Silence):
    """Passes the progress of a stage on."""

    def __init__(self, progress: ProgressSink) -> None:
        self._progress = progress

    def stage_progress(self, spec: StageSpec, fraction: float, message: str) -> None:
        self._progress(fraction, message)


def _asked(
    task: AnyTask, model: Any, sources: _Sources, seed: int, progress: ProgressSink
) -> tuple[Evaluation, Contamination]:
    found = evaluate(task, model, seed=seed, progress=progress)
    return found, check(task.items, sources.examples(), missing=sources.missing)


def _facts(found: Evaluation, known: Contamination) -> dict[str, Any]:
    return {**found.to_json(), "contamination": known.to_json()}


def _verdicts(found: Evaluation) -> list[Json]:
    """Return what was concluded of each item; the answer itself only where it is a text."""
    names = [metric.name for metric in found.metrics]
    return [
        {
            "item": item.id,
            "item_digest": item.digest,
            "group": item.group,
            "verifier": f"{found.task}/{found.version}",
            "values": {name: float(found.values[name][row]) for name in names},
            **({"answer": answer} if isinstance(answer, str) else {}),
        }
        for row, (item, answer) in enumerate(zip(found.items, found.answers, strict=True))
    ]


def _cached(digests: set[str]) -> Iterator[tuple[str, Path]]:
    """Yield those of some corpora that lie in the user's cache."""
    for path in sorted(cache_folder().glob("*/*.parquet")) if digests else ():
        if digest_file(path) in digests:
            yield digest_file(path), path


def _examples(path: Path) -> Examples:
    if path.suffix == ".parquet":
        return Examples.of_corpus(open_corpus(path))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(
            f"{path}, which the model was trained on, cannot be read as text: {error}"
        ) from error
    return Examples.of_json_lines(text) if path.suffix == ".jsonl" else Examples.of_text(text)


def _kept(workspace: Workspace, path: Path) -> str:
    """Store a file of training data as a folder: a corpus is two files."""
    files = [path, path.with_suffix(".json")] if path.suffix == ".parquet" else [path]
    with tempfile.TemporaryDirectory(prefix="learned-") as folder:
        for file in files:
            shutil.copyfile(file, Path(folder) / file.name)
        return workspace.objects.put_folder(Path(folder))


def _training_files(folder: Path) -> list[Path]:
    """Return the file of training data in a folder, without a corpus's companion."""
    corpora = sorted(folder.glob("*.parquet"))
    return corpora or sorted(folder.iterdir())
