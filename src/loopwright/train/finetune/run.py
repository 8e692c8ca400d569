"""A fine-tune from beginning to end: model folder and examples in, candidate folder out."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loopwright.core.configuration import plain_without
from loopwright.core.digest import Json, digest_file, digest_json
from loopwright.core.errors import InvalidConfig
from loopwright.core.learner import Mirror
from loopwright.core.policy import Candidate
from loopwright.core.stage import ProgressSink
from loopwright.models.language import LanguageModel, load
from loopwright.models.language.candidate import save_adapter, save_whole
from loopwright.models.language.weights import CONFIG_NAME
from loopwright.train.device import probe_device
from loopwright.train.finetune.adapting import Adapted, adapt
from loopwright.train.finetune.config import FinetuneConfig
from loopwright.train.finetune.documents import Document, documents_of, reply_document
from loopwright.train.finetune.dpo import Preference, Preferences, preference_error, reference
from loopwright.train.finetune.examples import InvalidExamples, read_conversations, read_pairs
from loopwright.train.finetune.nats import Lesson
from loopwright.train.finetune.packing import Order, Rows, fill_rows, require_isolation
from loopwright.train.finetune.sft import Imitation, imitation_error
from loopwright.train.parallel import require_one_process
from loopwright.train.trainer import LossAt, TrainerConfig, train

METRICS_NAME = "finetune.jsonl"
"""The metrics of training, in the candidate folder; one JSON object per logged step."""
_NAME = "finetune"
_NOT_LEARNED = ("keep", "accumulate", "checkpoint_every_steps")


Judge = Callable[[], dict[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finetuned:
    """What a fine-tune has made."""

    folder: Path
    candidate: Candidate
    examples: int
    left_out: int
    """Examples that are longer than a row."""
    steps: int
    trained_weights: int
    curves: Mapping[str, list[list[float]]]
    """Name to ``[[step, value], ...]``, while training."""
    before: Mapping[str, float]
    """On held-back examples, before training; empty where none were given."""
    after: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Task:
    """An objective made ready."""

    rows: int
    """What a batch is made of: rows, or pairs."""
    examples: int
    left_out: int
    loss: Callable[[Order], LossAt]
    judge: Judge | None
    """Judges the model on held-back examples."""


def finetune(  # noqa: PLR0913  (what, from what, to where, how)
    model: Path,
    data: Path,
    out: Path,
    config: FinetuneConfig,
    *,
    progress: ProgressSink,
    validation: Path | None = None,
    chat_template: Path | None = None,
    base: Path | None = None,
    device: torch.device | None = None,
    mirrors: Sequence[Mirror] = (),
) -> Finetuned:
    """Fine-tune a language model from disk and write the result as a candidate.

    Called again with the same arguments after a crash, it goes on from its last checkpoint, which
    lies in a hidden folder beside ``out``, and on a CPU ends at the same bits.

    Args:
        model: Anything that :func:`loopwright.models.language.load` reads.
        data: JSON lines; see :mod:`loopwright.train.finetune.examples`.
        out: The candidate folder; must not exist.
        config: How.
        progress: Told the finished fraction.
        validation: Held-back examples, judged before and after.
        chat_template: A Jinja file to use in place of the template of the model.
        base: Where the base of ``model`` lies, if that is an adapter which was moved.
        device: Where to compute; an accelerator if there is one.
        mirrors: Where else metrics are shown.

    Raises:
        InvalidExamples: A line of the data is not what is expected.
        InvalidConfig: Model, data and configuration do not go together, or torchrun started this.
        Diverged: The loss became NaN or infinite.
    """
    require_one_process("'loopwright finetune'")
    out = out.resolve()
    if out.exists():
        raise InvalidConfig(f"{out} exists already; choose another folder, or remove it")
    if not out.parent.is_dir():
        raise InvalidConfig(f"{out.parent} is no folder; make it first")
    device = device or probe_device()
    start = load(model, base=base, precision=_loaded_precision(config), device=device)
    if chat_template is not None:
        start.tokenizer.chat_template = _template(chat_template)
    work = out.with_name(f".{out.name}.training")
    teacher = _teacher(config, start)
    run = _Run(start, config, work, _identity(start, config, data, teacher), progress, teacher)
    task = (
        run.imitation(data, validation)
        if config.objective == "sft"
        else run.preference(data, validation)
    )
    return run.finish(task, model=model, out=out, data=data, mirrors=mirrors)


class _Run:
    """A loaded model on its way."""

    def __init__(
        self,
        model: LanguageModel,
        config: FinetuneConfig,
        work: Path,
        identity: str,
        progress: ProgressSink,
        teacher: LanguageModel | None,
    ) -> None:
        self.model, self.config, self.work, self.teacher = model, config, work, teacher
        self.identity, self.progress, self.device = identity, progress, model.device
        self.adapted: Adapted

    def imitation(self, data: Path, validation: Path | None) -> _Task:
        """Make ready to learn from conversations."""
        rows, examples, left_out = self._conversations(data)
        held = None if validation is None else self._conversations(validation)[0]
        if self.config.packed:
            for each in filter(None, (self.model, self.teacher)):
                require_isolation(each, rows)
        adapted = self._adapt()
        return _Task(
            rows=len(rows),
            examples=examples,
            left_out=left_out,
            loss=lambda order: Imitation(adapted, rows, order, self.device, self._lesson()),
            judge=None if held is None else lambda: imitation_error(adapted, held, self.device),
        )

    def preference(self, data: Path, validation: Path | None) -> _Task:
        """Make ready to learn from pairs."""
        rows, examples, left_out = self._pairs(data)
        held_rows = None if validation is None else self._pairs(validation)[0]
        adapted = self._adapt()
        # Not sooner: what is refused leaves nothing behind.
        self.work.mkdir(exist_ok=True)
        pairs = self._preferences(rows, data, "reference")
        held = (
            None
            if validation is None or held_rows is None
            else self._preferences(held_rows, validation, "held-back")
        )
        beta = self.config.beta
        return _Task(
            rows=pairs.pairs,
            examples=examples,
            left_out=left_out,
            loss=lambda order: Preference(adapted, pairs, order, self.device, beta=beta),
            judge=None
            if held is None
            else lambda: preference_error(
                adapted, held, self.device, beta=beta, precision=self.config.precision
            ),
        )

    def finish(
        self, task: _Task, *, model: Path, out: Path, data: Path, mirrors: Sequence[Mirror]
    ) -> Finetuned:
        """Train, judge, and write the candidate in one move."""
        config, adapted = self.config, self.adapted
        steps = max(1, math.ceil(task.rows * config.epochs / config.batch))
        before = task.judge() if task.judge else {}
        order = Order(rows=task.rows, batch=config.batch, seed=config.seed)
        curves = train(
            adapted,
            task.loss(order),
            self._trainer(steps),
            name=_NAME,
            identity=self.identity,
            folder=self.work,
            progress=self.progress,
            mirrors=mirrors,
        )
        after = task.judge() if task.judge else {}
        trained = adapted.trained_weights
        lineage = {
            "base": self.model.digest,
            "data": digest_file(data),
            "config": _settings(config),
            **_taught_by(self.teacher),
            "before": before,
            "after": after,
        }
        candidate = self._write(model, out, lineage)
        return Finetuned(
            folder=out,
            candidate=candidate,
            examples=task.examples,
            left_out=task.left_out,
            steps=steps,
            trained_weights=trained,
            curves=curves,
            before=before,
            after=after,
        )

    def _lesson(self) -> Lesson | None:
        said = self.config.teacher
        if said is None or self.teacher is None:
            return None
        module = self.teacher.module
        return Lesson(teacher=module, temperature=said.temperature, share=said.share)

    def _adapt(self) -> Adapted:
        self.adapted = adapt(self.model.module, self.config.adapt, seed=self.config.seed)
        return self.adapted

    def _trainer(self, steps: int) -> TrainerConfig:
        config = self.config
        return TrainerConfig(
            steps=steps,
            learning_rate=config.rate,
            warmup_steps=max(1, round(config.warmup_share * steps)),
            weight_decay=0.0,
            betas=(0.9, 0.999),
            schedule=config.schedule,
            final_rate=config.final_rate,
            average_decay=config.average_decay,
            precision=config.precision,
            accumulate=config.accumulate,
            checkpoint_every_steps=config.checkpoint_every_steps,
            log_every_steps=max(1, min(5, steps // 20)),
        )

    def _conversations(self, path: Path) -> tuple[Rows, int, int]:
        found = [
            (documents_of(self.model, example.messages), example.line)
            for example in read_conversations(path)
        ]
        kept = [documents for documents, line in found if self._fits(path, line, documents)]
        _require_some(kept, len(found), path, self.config.row_tokens)
        documents = [document for some in kept for document in some]
        rows = fill_rows(documents, self.config.row_tokens, packed=self.config.packed)
        return rows, len(kept), len(found) - len(kept)

    def _pairs(self, path: Path) -> tuple[Rows, int, int]:
        found = [
            (
                [
                    reply_document(self.model, example.prompt, reply)
                    for reply in (example.chosen, example.rejected)
                ],
                example.line,
            )
            for example in read_pairs(path)
        ]
        kept = [both for both, line in found if self._fits(path, line, both)]
        _require_some(kept, len(found), path, self.config.row_tokens)
        documents = [both[0] for both in kept] + [both[1] for both in kept]
        rows = fill_rows(documents, self.config.row_tokens, packed=False)
        return rows, len(kept), len(found) - len(kept)

    def _preferences(self, rows: Rows, path: Path, name: str) -> Preferences:
        likely = reference(
            self.adapted,
            rows,
            self.device,
            path=self.work / f"{name}.safetensors",
            fingerprint=digest_json({"identity": self.identity, "data": digest_file(path)}),
            precision=self.config.precision,
            progress=self.progress,
        )
        return Preferences(rows=rows, reference_R=likely)

    def _fits(self, path: Path, line: int, documents: Sequence[Document]) -> bool:
        if not all(document.num_learned for document in documents):
            raise InvalidExamples(
                f"{path}, line {line}: the chat template leaves no token of the reply to learn; "
                "is the reply empty, or does the template hide it?"
            )
        longest = max(len(document.tokens) for document in documents)
        room = [model.context_tokens for model in (self.model, self.teacher) if model]
        return longest <= min(self.config.row_tokens, *(tokens or longest for tokens in room))

    def _write(self, base: Path, out: Path, lineage: Mapping[str, Json]) -> Candidate:
        staged = self.work / "candidate"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        shutil.copyfile(self.work / f"{_NAME}.jsonl", staged / METRICS_NAME)
        adapter = self.adapted.adapter
        if self.config.keep == "adapter" and adapter is not None:
            candidate = save_adapter(
                self.model, adapter, staged, base=base, place=out, lineage=lineage
            )
        else:
            module: Any = self.adapted.merged()
            module = module.to(_stored_dtype(base, module.dtype))
            whole = LanguageModel(module, self.model.tokenizer, digest=self.model.digest)
            candidate = save_whole(whole, staged, lineage=lineage)
        staged.rename(out)
        shutil.rmtree(self.work)
        return candidate


def _template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(
            f"the chat template {path} cannot be read: {error}; name a text file in Jinja"
        ) from error


def _teacher(config: FinetuneConfig, student: LanguageModel) -> LanguageModel | None:
    """Return the teacher of a fine-tune, if there is one.

    Raises:
        InvalidConfig: Its vocabulary is another one than the student's.
    """
    if config.teacher is None:
        return None
    teacher = load(
        Path(config.teacher.path), precision=_loaded_precision(config), device=student.device
    )
    mine, theirs = student.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    if mine != theirs:
        apart = sorted(token for token, _ in mine.items() ^ theirs.items())
        raise InvalidConfig(
            f"the teacher {config.teacher.path} has another vocabulary than the student: "
            f"{len(theirs)} tokens, expected {len(mine)}; {apart[0]!r} is one of {len(set(apart))} "
            "that differ. Choose a teacher with the tokenizer of the student"
        )
    return teacher


def _taught_by(teacher: LanguageModel | None) -> dict[str, Json]:
    return {} if teacher is None else {"teacher": teacher.digest}


def _identity(
    model: LanguageModel, config: FinetuneConfig, data: Path, teacher: LanguageModel | None
) -> str:
    return digest_json(
        {
            **_taught_by(teacher),
            "model": model.digest,
            "template": model.chat_template,
            "data": digest_file(data) if data.is_file() else None,
            "config": _settings(config),
        }
    )


def _settings(config: FinetuneConfig) -> dict[str, Json]:
    """Return, as plain data, what of a configuration changes the numbers that are learned."""
    settings = plain_without(config, _NOT_LEARNED)
    if settings["teacher"] is None:
        del settings["teacher"]
    else:
        del settings["teacher"]["path"]  # who it is counts, not where it lies
    return json.loads(json.dumps(settings))


def _loaded_precision(config: FinetuneConfig) -> Any:
    under_adapter = config.adapt.method != "full" and config.precision == "bfloat16"
    return "stored" if under_adapter else "float32"


def _stored_dtype(base: Path, otherwise: torch.dtype) -> torch.dtype:
    """Return the precision in which the weights of the base lie on disk."""
    path = base / CONFIG_NAME
    said = json.loads(path.read_bytes()) if path.is_file() else {}
    name = said.get("dtype") or said.get("torch_dtype")
    return getattr(torch, name) if isinstance(name, str) else otherwise


def _require_some(kept: Sequence[object], found: int, path: Path, row_tokens: int) -> None:
    if not kept:
        raise InvalidConfig(
            f"none of the {found} examples in {path} fits into {row_tokens} tokens; "
            "raise row_tokens, up to what the model holds"
        )
