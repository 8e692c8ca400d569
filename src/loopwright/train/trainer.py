"""The trainer: one loop for every family.

A batch is a pure function of ``(seed, step)``, so the number of the step *is* the position in
the data, and a run that was killed goes on bit for bit as if it had not been. The same holds for
the share of a batch that one process, or one turn of gradient accumulation, computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from loopwright.core.configuration import plain_without
from loopwright.core.digest import digest_json
from loopwright.core.errors import InvalidConfig, LoopwrightError
from loopwright.core.learner import Mirror
from loopwright.core.seeds import derive_seed
from loopwright.core.stage import ProgressSink
from loopwright.models.layers.mixture import mixtures
from loopwright.train.balance import ExpertBalance
from loopwright.train.checkpoint import Checkpoint, below, load_checkpoint, save_checkpoint
from loopwright.train.device import Precision, computing_in
from loopwright.train.metrics import MetricsFile, curves, read_metrics
from loopwright.train.optimisers import Optimisers
from loopwright.train.parallel import ALONE, Processes
from loopwright.train.throughput import Throughput, peak_flop_s


@dataclass(frozen=True, slots=True)
class Portion:
    """A share of the batch of one step."""

    step: int
    index: int = 0
    count: int = 1
    """Equal shares that the batch is divided into."""

    def rows(self, total: int) -> slice:
        """Return which of ``total`` rows belong to this share.

        Raises:
            InvalidConfig: They cannot be divided evenly.
        """
        if total % self.count:
            raise InvalidConfig(
                f"a batch of {total} rows cannot be divided into {self.count} equal shares "
                "(processes times accumulation); choose a multiple"
            )
        each = total // self.count
        return slice(self.index * each, (self.index + 1) * each)


LossAt = Callable[[Portion], tuple[Tensor, dict[str, Tensor]]]
"""The loss of one portion and its named parts, drawing its rows from the portion alone. The
losses of the portions of a step average to the loss of the step, however many there are; but for
the loss that balances experts, which looks at the loads of a portion."""


_NOT_SHAPING: Final = ("accumulate", "checkpoint_every_steps", "peak_tflop_s")


class Diverged(LoopwrightError):
    """The loss is no finite number any more."""


Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerConfig:
    """How to walk down."""

    steps: int
    learning_rate: float = 7e-4
    """Of AdamW."""
    muon_rate: float | None = None
    """Learning rate of Muon for the matrices of hidden blocks; None leaves them to AdamW."""
    warmup_steps: int = 20
    schedule: Schedule = "cosine"
    """How the learning rate falls after the warm-up."""
    final_rate: float = 0.02
    """Share of the learning rate that is left at the last step."""
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    accumulate: int = 1
    """Portions that a process computes one after the other for one step, to save memory."""
    precision: Precision = "float32"
    """Of products; weights, moments and sums stay in float32."""
    peak_tflop_s: float | None = None
    """What the device can compute in this precision; None for what is known of it."""
    average_decay: float | None = None
    """Decay of the moving average of the weights; None keeps none."""
    checkpoint_every_steps: int = 100
    log_every_steps: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be walked."""
        for name in ("steps", "checkpoint_every_steps", "log_every_steps", "accumulate"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        if not 0 <= self.final_rate <= 1:
            raise InvalidConfig(f"final_rate is {self.final_rate}; expected 0 to 1")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InvalidConfig(f"betas are {self.betas}; expected two numbers from 0 to below 1")
        if self.average_decay is not None and not 0 < self.average_decay < 1:
            raise InvalidConfig(f"average_decay is {self.average_decay}; expected 0 to 1")
        self._refuse_odd_rates()
        self._refuse_unknown_names()

    def _refuse_odd_rates(self) -> None:
        for name in ("learning_rate", "muon_rate", "clip_norm", "peak_tflop_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidConfig(f"{name} is {value}; expected a finite number above 0")
        for name in ("warmup_steps", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 0")

    def _refuse_unknown_names(self) -> None:
        for name, names in (("schedule", Schedule), ("precision", Precision)):
            known = get_args(names)
            if getattr(self, name) not in known:
                raise InvalidConfig(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}"
                )

    def rate_at(self, step: int) -> float:
        """Return the share of its highest value that a learning rate has at a step."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        left = {
            "cosine": 0.5 * (1.0 + math.cos(math.pi * step / self.steps)),
            "linear": 1.0 - step / self.steps,
            "constant": 1.0,
        }[self.schedule]
        return warm * (self.final_rate + (1.0 - self.final_rate) * left)


def train(  # noqa: PLR0913  (what is trained, how, and where its traces go)
    module: nn.Module,
    loss_at: LossAt,
    config: TrainerConfig,
    *,
    name: str,
    identity: str,
    folder: Path,
    progress: ProgressSink,
    processes: Processes = ALONE,
    step_tokens: int = 0,
    mirrors: Sequence[Mirror] = (),
) -> dict[str, list[list[float]]]:
    """Train ``module`` in place and return its loss curves; those of the first process alone.

    Started again with the same arguments after a crash, it goes on from its last checkpoint and
    ends at the same bits, on a CPU.

    Args:
        module: What to train; leaves with the averaged weights if the config asks for them. With
            several processes it is spread already, and ``loss_at`` calls it as a function.
        loss_at: The loss of a portion of a step.
        config: How.
        name: Names the files in ``folder``.
        identity: Digest of everything else that shapes the result (data, seed, architecture).
        folder: Holds checkpoint and metrics; outlives a crash.
        progress: Told the finished fraction.
        processes: Those that train together.
        step_tokens: Tokens in the batch of a step, for the throughput; 0 if that means nothing.
        mirrors: Where else to show the metrics; the first process does.

    Raises:
        Diverged: The loss became NaN or infinite.
        InvalidConfig: Processes see different checkpoints: they do not share the folder. Or the
            checkpoint is of the same training in another precision or with other settings.
        StorageError: A checkpoint could not be written.
        DamagedData: The checkpoint to resume from cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(module, config, folder / f"{name}.safetensors", identity, processes)
    first = run.resume()
    processes.agree(f"steps done in {folder}", str(first))
    module.train()
    peak = peak_flop_s(config.peak_tflop_s, config.precision, run.parameters[0].device)
    speed = Throughput(config.steps, first, step_tokens, peak)
    with ExitStack() as stack:
        metrics = None
        if processes.is_first:
            path = folder / f"{name}.jsonl"
            metrics = stack.enter_context(MetricsFile(path, resume_at=first, mirrors=mirrors))
        for step in range(first, config.steps):
            with speed.step() as counting:
                values = run.step(step, loss_at, counting)
            if step % config.log_every_steps == 0:
                line = {key: float(processes.mean(value)) for key, value in values.items()}
                if metrics is not None:
                    metrics.append(step, line)
                message = f"{name}: loss {line['loss']:.4f}, {speed.message(step)}"
                progress(step / config.steps, message)
            if (step + 1) % config.checkpoint_every_steps == 0 or step + 1 == config.steps:
                if metrics is not None:
                    metrics.sync()
                run.save(step + 1)
    run.finish()
    return curves(read_metrics(metrics.path)) if metrics is not None else {}


def begun_precision(path: Path, identity: str) -> Precision | None:
    """Return the precision in which a training was begun whose checkpoint lies here, if one does.

    Args:
        path: The checkpoint.
        identity: That of the training; a checkpoint of another one tells nothing.

    Raises:
        DamagedData: The checkpoint is not what was written.
    """
    found = load_checkpoint(path)
    if found is None or found.identity != identity:
        return None
    return "bfloat16" if found.precision == "bfloat16" else "float32"


class _Run:
    """Module, optimiser and average of one run, and where they are kept."""

    def __init__(
        self,
        module: nn.Module,
        config: TrainerConfig,
        path: Path,
        identity: str,
        processes: Processes,
    ) -> None:
        self.module, self.config, self.path, self.processes = module, config, path, processes
        self.identity = identity
        self.fingerprint = digest_json(
            {
                "config": plain_without(config, _NOT_SHAPING),
                "identity": identity,
                **_uneven(module, config.accumulate * processes.data_count),
            }
        )
        self.named = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        self.optimisers = Optimisers(self.named, config)
        self.average: dict[str, Tensor] = {}
        if config.average_decay is not None:
            self.average = {n: p.detach().clone() for n, p in self.named.items()}
        self.balance = ExpertBalance(module, processes)

    def step(
        self, step: int, loss_at: LossAt, counting: AbstractContextManager[object]
    ) -> dict[str, Tensor]:
        self.optimisers.set_rate(self.config.rate_at(step))
        self.optimisers.zero_grad()
        with counting:
            values = self._descend(step, loss_at)
        loss = self.processes.mean(values["loss"])
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss is {loss.item()} at step {step}; lower learning_rate "
                f"(now {self.config.learning_rate:g}) or look for bad values in the data"
            )
        norm = self.processes.clip(self.parameters, self.config.clip_norm)
        self.optimisers.step()
        self._update_average()
        return {**values, "gradient_norm": norm.detach(), **self.balance.step()}

    def _descend(self, step: int, loss_at: LossAt) -> dict[str, Tensor]:
        """Gather the gradients of every portion of this process; return the mean values."""
        turns, values = self.config.accumulate, {}
        for turn in range(turns):
            portion = Portion(
                step,
                index=self.processes.data_index * turns + turn,
                count=self.processes.data_count * turns,
            )
            # Random numbers (dropout, noise) are part of the portion, whoever computes it when.
            _seed(derive_seed(0, self.fingerprint, step, portion.index), self.parameters[0].device)
            with computing_in(self.config.precision, self.parameters[0].device):
                loss, parts = loss_at(portion)
            self.balance.observe()
            with self.processes.last_turn(self.module, turn + 1 == turns):
                (loss / turns).backward()
            for name, value in {"loss": loss, **parts}.items():
                values[name] = values.get(name, 0.0) + value.detach() / turns
        return values

    def _update_average(self) -> None:
        if self.config.average_decay is not None:
            with torch.no_grad():
                for name, kept in self.average.items():
                    kept.lerp_(self.named[name].detach(), 1.0 - self.config.average_decay)

    def finish(self) -> None:
        with torch.no_grad():
            for name, kept in self.average.items():
                self.named[name].copy_(kept)
        self.module.eval()

    def save(self, step: int) -> None:
        """Write a checkpoint of whole tensors; every process takes part, the first one writes."""
        kept: dict[str, Tensor] = {}
        for name, value in self._tensors():
            whole = self.processes.whole(value)
            if self.processes.is_first:
                kept[name] = whole.detach().cpu()
        if self.processes.is_first:
            checkpoint = Checkpoint(
                step=step,
                fingerprint=self.fingerprint,
                identity=self.identity,
                precision=self.config.precision,
                tensors=kept,
            )
            save_checkpoint(self.path, checkpoint)
        self.processes.wait()

    def resume(self) -> int:
        """Go back to the last checkpoint; return the steps done."""
        found = load_checkpoint(self.path)
        if found is None:
            return 0
        if found.identity == self.identity and found.precision != self.config.precision:
            raise InvalidConfig(
                f"the training in {self.path} was begun in {found.precision} and would go on in "
                f"{self.config.precision}; give the precision that it was begun in, or delete the "
                "file to train from the beginning"
            )
        if found.identity == self.identity and found.fingerprint != self.fingerprint:
            raise InvalidConfig(
                f"the training in {self.path} is at step {found.step} with other settings, or its "
                "batches divided into another number of portions, which a balance loss learns "
                "from; go on as it was begun (processes, accumulation), or delete the file to "
                "train from the beginning"
            )
        if found.fingerprint != self.fingerprint:
            return 0
        self._restore_moments(below(found.tensors, "optimiser."))
        with torch.no_grad():
            for name, value in self._tensors():
                value.copy_(self.processes.placed(found.tensors[name], value))
        return found.step

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield everything that the next step depends on, by name."""
        for name, value in self.module.state_dict().items():
            yield f"module.{name}", value
        for name, value in self.average.items():
            yield f"average.{name}", value
        for name, parameter in self.named.items():
            for moment, value in self.optimisers.moments(parameter).items():
                yield f"optimiser.{name}.{moment}", value

    def _restore_moments(self, whole: dict[str, Tensor]) -> None:
        """Make room for the optimiser's moments, laid out as their parameters are."""
        for name, parameter in self.named.items():
            for moment, value in below(whole, f"{name}.").items():
                count = torch.zeros((), device=parameter.device)
                room = torch.empty_like(parameter) if value.shape == parameter.shape else count
                self.optimisers.moments(parameter)[moment] = room


def _uneven(module: nn.Module, portions: int) -> dict[str, int]:
    """Return the portions of a step where their number shapes the result beyond rounding.

    It does where a loss balances experts: that sees the loads of one portion at a time.
    """
    by_loss = any(mixture.config.balance_weight for mixture in mixtures(module))
    return {"portions": portions} if by_loss and portions > 1 else {}


def _seed(seed: int, device: torch.device) -> None:
    """Seed what a loss draws from; torch.manual_seed also looks for devices of every make."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
