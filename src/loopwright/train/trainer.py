"""The trainer: one loop for every family.

A batch is a pure function of ``(seed, step)``, so the number of the step *is* the position in
the data, and a run that was killed goes on bit for bit as if it had not been.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from loopwright.core.digest import digest_json
from loopwright.core.errors import InvalidConfig, LoopwrightError
from loopwright.core.stage import ProgressSink
from loopwright.train.checkpoint import load_checkpoint, save_checkpoint
from loopwright.train.metrics import MetricsFile, curves, read_metrics

LossAt = Callable[[int], tuple[Tensor, dict[str, Tensor]]]
"""The loss of one step and its parts; draws its batch from the number of the step alone."""


class Diverged(LoopwrightError):
    """The loss is no finite number any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerConfig:
    """How to walk down."""

    steps: int
    learning_rate: float = 7e-4
    warmup_steps: int = 20
    final_rate: float = 0.02
    """Share of the learning rate that is left at the last step of the cosine."""
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average_decay: float | None = None
    """Decay of the moving average of the weights; None keeps none."""
    checkpoint_every_steps: int = 100
    log_every_steps: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be walked."""
        for name in ("steps", "checkpoint_every_steps", "log_every_steps"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        if not self.learning_rate > 0:
            raise InvalidConfig(f"learning_rate is {self.learning_rate}; expected more than 0")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise InvalidConfig(f"average_decay is {self.average_decay}; expected 0 to 1")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step: linear warm-up, then a cosine."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        cosine = 0.5 * (1.0 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (self.final_rate + (1.0 - self.final_rate) * cosine)


def train(
    module: nn.Module,
    loss_at: LossAt,
    config: TrainerConfig,
    *,
    name: str,
    identity: str,
    folder: Path,
    progress: ProgressSink,
) -> dict[str, list[list[float]]]:
    """Train ``module`` in place and return its loss curves.

    Started again with the same arguments after a crash, it goes on from its last checkpoint and
    ends at the same bits.

    Args:
        module: What to train; leaves with the averaged weights if the config asks for them.
        loss_at: The loss of a step.
        config: How.
        name: Names the files in ``folder``.
        identity: Digest of everything else that shapes the result (data, seed, architecture).
        folder: Holds checkpoint and metrics; outlives a crash.
        progress: Told the finished fraction.

    Raises:
        Diverged: The loss became NaN or infinite.
        StorageError: A checkpoint could not be written.
        DamagedData: The checkpoint to resume from cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(module, config, folder / f"{name}.safetensors", identity)
    first = run.resume()
    module.train()
    with MetricsFile(folder / f"{name}.jsonl", resume_at=first) as metrics:
        for step in range(first, config.steps):
            values = run.step(step, loss_at)
            if step % config.log_every_steps == 0:
                metrics.append(step, {k: float(v) for k, v in values.items()})
                progress(step / config.steps, f"{name}: loss {float(values['loss']):.4f}")
            if (step + 1) % config.checkpoint_every_steps == 0 or step + 1 == config.steps:
                metrics.sync()
                run.save(step + 1)
    run.finish()
    return curves(read_metrics(metrics.path))


class _Run:
    """Module, optimiser and average of one run, and where they are kept."""

    def __init__(self, module: nn.Module, config: TrainerConfig, path: Path, identity: str) -> None:
        self.module, self.config, self.path = module, config, path
        self.fingerprint = digest_json({"config": asdict(config), "identity": identity})
        matrices = [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]
        vectors = [p for p in module.parameters() if p.requires_grad and p.ndim < 2]
        self.parameters = matrices + vectors
        self.optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.average = copy.deepcopy(module) if config.average_decay is not None else None

    def resume(self) -> int:
        return load_checkpoint(self.path, **self._parts())

    def save(self, step: int) -> None:
        save_checkpoint(self.path, step=step, **self._parts())

    def _parts(self) -> dict:
        return {
            "fingerprint": self.fingerprint,
            "module": self.module,
            "optimiser": self.optimiser,
            "average": self.average,
        }

    def step(self, step: int, loss_at: LossAt) -> dict[str, Tensor]:
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate_at(step)
        loss, values = loss_at(step)
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss is {loss.item()} at step {step}; lower learning_rate "
                f"(now {self.config.learning_rate:g}) or look for bad values in the data"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.optimiser.step()
        self._update_average()
        return {"loss": loss.detach(), **values, "gradient_norm": norm.detach()}

    def _update_average(self) -> None:
        if self.average is None or self.config.average_decay is None:
            return
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.module.parameters(), strict=True):
                kept.lerp_(new, 1.0 - self.config.average_decay)

    def finish(self) -> None:
        if self.average is not None:
            self.module.load_state_dict(self.average.state_dict())
        self.module.eval()
