"""Asking a model all items of a task, and judging what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loopwright.core.errors import VerifierError
from loopwright.core.seeds import derive_seed
from loopwright.core.stage import ProgressSink
from loopwright.train.evaluate.bootstrap import Score, score
from loopwright.train.evaluate.task import Answer, Item, Metric, Model, Task


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evaluation:
    """What came of a task: R items, their answers, and a value of each metric for each."""

    task: str
    version: int
    digest: str
    """Of the task."""
    seed: int
    items: tuple[Item, ...]
    metrics: tuple[Metric, ...]
    answers: tuple[Any, ...]
    values: Mapping[str, np.ndarray]
    """Metric, or weight, to float ``(R,)``."""

    @property
    def headline(self) -> Score:
        """The score of the first metric."""
        return self.score(self.metrics[0].name)

    def score(self, metric: str) -> Score:
        """Return the mean of a metric with its interval over groups."""
        found = next(m for m in self.metrics if m.name == metric)
        groups = np.array([item.group for item in self.items])
        weights = self.values[found.weight] if found.weight else None
        return score(found, self.values[metric], groups, weights)

    @property
    def scores(self) -> dict[str, Score]:
        """Every metric's score, the headline first."""
        return {metric.name: self.score(metric.name) for metric in self.metrics}

    def to_json(self) -> dict[str, Any]:
        """Return the scores and what they are of, without items and answers."""
        return {
            "task": self.task,
            "version": self.version,
            "task_digest": self.digest,
            "seed": self.seed,
            "scores": {name: asdict(found) for name, found in self.scores.items()},
        }


def _silent(fraction: float, message: str) -> None:
    """Report nothing."""


def evaluate(
    task: Task[Model, Answer], model: Model, *, seed: int = 0, progress: ProgressSink = _silent
) -> Evaluation:
    """Ask a model every item of a task and judge the answers.

    Args:
        task: What to ask.
        model: Whom; of the task's family.
        seed: Of everything that is drawn at random.
        progress: Told the finished fraction.

    Raises:
        VerifierError: An item has no answer, or a metric no finite value.
    """
    answers: list[Answer] = []
    for begin in range(0, len(task.items), task.batch):
        part = task.items[begin : begin + task.batch]
        found = task.ask(model, part, derive_seed(seed, task.name, begin))
        if len(found) != len(part):
            raise VerifierError(
                f"the task {task.name!r} gave {len(found)} answers to {len(part)} items"
            )
        answers += found
        progress(len(answers) / len(task.items), f"{task.name}: {len(answers)} answers")
    judged = [task.verify(*pair) for pair in zip(task.items, answers, strict=True)]
    names = [m.name for m in task.metrics] + [m.weight for m in task.metrics if m.weight]
    return Evaluation(
        task=task.name,
        version=task.version,
        digest=task.digest,
        seed=seed,
        items=task.items,
        metrics=task.metrics,
        answers=tuple(answers),
        values={name: _values(task.name, name, task.items, judged) for name in names},
    )


def _values(
    task: str, metric: str, items: tuple[Item, ...], judged: list[Mapping[str, float]]
) -> np.ndarray:
    values = np.array([values.get(metric, np.nan) for values in judged], float)
    if not np.isfinite(values).all():
        first = items[int(np.flatnonzero(~np.isfinite(values))[0])]
        raise VerifierError(
            f"the verifier of {task!r} gave no finite {metric!r} for the item {first.id!r}"
        )
    return values
