"""What to fine-tune, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from loopwright.core.errors import InvalidConfig
from loopwright.train.teacher import TeacherConfig

Method = Literal["lora", "dora", "full"]
Objective = Literal["sft", "dpo"]
Keep = Literal["merged", "adapter"]
Schedule = Literal["cosine", "linear", "constant"]

_RATES: dict[tuple[str, bool], float] = {
    ("sft", False): 2e-4,
    ("sft", True): 2e-5,
    ("dpo", False): 2e-5,
    ("dpo", True): 1e-6,
}
"""Usual learning rates by objective and whether all weights move. Adapters want ten times more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptConfig:
    """Which weights move, and through what."""

    method: Method = "lora"
    """Low-rank adapters (Hu et al. 2021), the same with a learned size of each row (DoRA, Liu et
    al. 2024), or all weights."""
    rank: int = 16
    scale: float = 2.0
    """Factor on what an adapter adds (alpha over rank)."""
    dropout: float = 0.0
    """Share of an adapter's inputs that is left out while training."""
    targets: tuple[str, ...] = ()
    """Ends of the names of the linear layers to adapt; empty for all but the output."""
    experts: bool = False
    """Whether to adapt the experts too: weights with three dimensions, one matrix an expert."""

    def __post_init__(self) -> None:
        """Refuse what adapters cannot do."""
        if self.rank < 1:
            raise InvalidConfig(f"rank is {self.rank}; expected at least 1")
        if not self.scale > 0:
            raise InvalidConfig(f"scale is {self.scale}; expected more than 0")
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidConfig(f"dropout is {self.dropout}; expected 0 or more and below 1")
        if self.experts and (self.method == "dora" or self.dropout):
            raise InvalidConfig(
                f"experts can be adapted with 'lora' and dropout 0 only, not with {self.method!r} "
                f"and dropout {self.dropout}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """A fine-tune, whatever it starts from and learns from."""

    objective: Objective = "sft"
    """Imitate replies (sft), or prefer one reply to another (dpo)."""
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    epochs: float = 3.0
    """How often every example is seen."""
    batch: int = 8
    """Rows (sft) or pairs (dpo) of one step."""
    row_tokens: int = 1024
    """Longest row. Longer examples are left out, and their number is told."""
    packed: bool = True
    """Whether conversations share rows (sft). They never see each other."""
    learning_rate: float | None = None
    """None for the usual one of objective and method."""
    warmup_share: float = 0.05
    """Share of the steps in which the learning rate rises."""
    schedule: Schedule = "cosine"
    """How the learning rate falls after that."""
    final_rate: float = 0.02
    """Share of the learning rate that is left at the last step."""
    average_decay: float | None = None
    """Decay of the moving average of the weights that move, which is then what is written; None
    keeps none."""
    beta: float = 0.1
    """How hard dpo holds the model to where it began."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of products; with bfloat16 the weights under an adapter keep the precision of their files."""
    accumulate: int = 1
    """Turns in which the batch of a step is computed, to save memory."""
    checkpoint_every_steps: int = 100
    keep: Keep = "merged"
    """What to write: a model that stands alone, or the adapter, which needs its base."""
    seed: int = 0
    teacher: TeacherConfig | None = None
    """Whom to learn from beside the replies (sft): a model with the same vocabulary."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.teacher is not None and self.objective != "sft":
            raise InvalidConfig(f"objective {self.objective!r} has no teacher; only 'sft' has one")
        for name in ("batch", "accumulate", "checkpoint_every_steps"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.row_tokens < 2:
            raise InvalidConfig(f"row_tokens is {self.row_tokens}; expected at least 2")
        if not self.epochs > 0 or not self.beta > 0:
            raise InvalidConfig(
                f"epochs is {self.epochs} and beta {self.beta}; expected more than 0"
            )
        if self.batch % self.accumulate:
            raise InvalidConfig(
                f"a batch of {self.batch} cannot be computed in {self.accumulate} equal turns; "
                "choose a multiple"
            )
        if self.adapt.method == "full" and self.keep == "adapter":
            raise InvalidConfig("method 'full' moves all weights: there is no adapter to keep")

        self._refuse_odd_rates()

    def _refuse_odd_rates(self) -> None:
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise InvalidConfig(f"learning_rate is {self.learning_rate}; expected more than 0")
        for name in ("warmup_share", "final_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected 0 to 1")
        if self.schedule not in get_args(Schedule):
            known = ", ".join(get_args(Schedule))
            raise InvalidConfig(f"schedule is {self.schedule!r}; expected one of {known}")
        if self.average_decay is not None and not 0.0 < self.average_decay < 1.0:
            raise InvalidConfig(
                f"average_decay is {self.average_decay}; expected more than 0, below 1"
            )

    @property
    def rate(self) -> float:
        """The learning rate, chosen or usual."""
        if self.learning_rate is not None:
            return self.learning_rate
        return _RATES[self.objective, self.adapt.method == "full"]
