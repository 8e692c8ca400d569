"""A step of our trainer beside the same step in a plain loop, in Accelerate and in HF Trainer.

All four train the same sparse transformer with AdamW on the same rows, clip gradients to a norm
and follow a cosine. They run in threads of one process and hand each other the turn before every
step, so that each step has its neighbours in the same half second on the same, shared machine;
only the CPU time of the thread at work counts. What a step costs is compared within its round.
Memory is measured in processes of their own: the peak while training over what was in use before.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.harness import Benchmark, Measurement
from loopwright.models.layers.mixture import MixtureConfig
from loopwright.models.layers.transformer import Transformer, TransformerConfig
from loopwright.train.trainer import Portion, TrainerConfig, train

SEED = 0
VOCABULARY = 256
RATE, DECAY, CLIP = 1e-3, 0.01, 1.0
WARM_UP = 5
"""Steps that are not counted: caches fill, and our trainer counts operations in its first."""
LOG_EVERY = 5
Tick = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size of model and batch."""

    name: str
    width: int
    layers: int
    rows: int
    tokens: int
    steps: int


SIZES = (
    Size(name="small", width=128, layers=2, rows=4, tokens=64, steps=205),
    Size(name="medium", width=256, layers=4, rows=4, tokens=128, steps=45),
)


class Language(nn.Module):
    """Predicts the next token and returns the loss, as every contestant likes to be called."""

    def __init__(self, size: Size, tick: Tick) -> None:
        super().__init__()
        self.tick = tick
        width = size.width
        mixture = MixtureConfig(experts=8, chosen=2, hidden=width, shared_hidden=width)
        config = TransformerConfig(
            width=width,
            layers=size.layers,
            heads=width // 32,
            key_heads=width // 64,
            hidden=3 * width,
            causal=True,
            mixture=mixture,
        )
        self.embed = nn.Embedding(VOCABULARY, width)
        self.backbone = Transformer(config)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss": ...}``; ``tokens`` is ``(B, T + 1)``."""
        self.tick()
        guess = self.head(self.backbone(self.embed(tokens[:, :-1])))
        return {"loss": F.cross_entropy(guess.flatten(0, 1), tokens[:, 1:].flatten())}


class Rows(Dataset[dict[str, Tensor]]):
    """Rows of random tokens."""

    def __init__(self, size: Size) -> None:
        shape = (size.steps * size.rows, size.tokens + 1)
        self.tokens = torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"tokens": self.tokens[index]}


def rate_at(step: int, steps: int) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * step / steps))


def make_optimiser(model: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=True)


def plain(model: Language, size: Size, folder: Path) -> None:
    """Train in the loop of every tutorial."""
    rows, optimiser = Rows(size).tokens, make_optimiser(model)
    for step in range(size.steps):
        batch = rows[step * size.rows : (step + 1) * size.rows]
        loss = model(batch)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for group in optimiser.param_groups:
            group["lr"] = RATE * rate_at(step, size.steps)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % LOG_EVERY == 0:
            loss.item()


def ours(model: Language, size: Size, folder: Path) -> None:
    """Train with our trainer, metrics file, progress and balance of the experts included."""
    rows = Rows(size).tokens

    def loss_at(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
        batch = rows[portion.step * size.rows : (portion.step + 1) * size.rows]
        return model(batch[portion.rows(size.rows)])["loss"], {}

    config = TrainerConfig(
        steps=size.steps,
        learning_rate=RATE,
        weight_decay=DECAY,
        clip_norm=CLIP,
        betas=(0.9, 0.999),
        warmup_steps=1,
        final_rate=0.0,
        log_every_steps=LOG_EVERY,
        checkpoint_every_steps=size.steps,
    )
    train(
        model,
        loss_at,
        config,
        name="run",
        identity="benchmark",
        folder=folder,
        progress=lambda *_: None,
        step_tokens=size.rows * size.tokens,
    )


def accelerate(model: Language, size: Size, folder: Path) -> None:
    """Train in the loop of Accelerate's manual."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    optimiser = make_optimiser(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: rate_at(s, size.steps))
    loader = DataLoader(Rows(size), batch_size=size.rows)
    prepared, optimiser, loader, schedule = accelerator.prepare(model, optimiser, loader, schedule)
    prepared.train()
    for step, batch in enumerate(loader):
        loss = prepared(**batch)["loss"]
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(prepared.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step % LOG_EVERY == 0:
            loss.item()


def hugging_face(model: Language, size: Size, folder: Path) -> None:
    """Train with the Trainer of transformers."""
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=size.rows,
        max_steps=size.steps,
        learning_rate=RATE,
        weight_decay=DECAY,
        max_grad_norm=CLIP,
        lr_scheduler_type="cosine",
        logging_steps=LOG_EVERY,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        Trainer(model=model, args=arguments, train_dataset=Rows(size)).train()


CONTESTANTS: dict[str, Callable[[Language, Size, Path], None]] = {
    "plain loop": plain,
    "Loopwright": ours,
    "Accelerate": accelerate,
    "Hugging Face Trainer": hugging_face,
}


MODULES = {"Accelerate": "accelerate", "Hugging Face Trainer": "transformers.trainer"}
"""What a contestant imports: no part of the memory that training needs."""


class Turns:
    """Lets threads work one at a time, a step each, and measures the CPU time of each step."""

    def __init__(self, count: int) -> None:
        self._turn = [threading.Semaphore(int(number == 0)) for number in range(count)]
        self._began = [0.0] * count
        self.taken_s: list[list[float]] = [[] for _ in range(count)]
        self.failure = ""

    def tick(self, number: int) -> None:
        """End a step of a thread; come back when it may begin the next."""
        self.taken_s[number].append(time.thread_time() - self._began[number])
        self.leave(number)
        self._turn[number].acquire()
        if self.failure:
            raise RuntimeError("another contestant failed")
        self._began[number] = time.thread_time()

    def leave(self, number: int) -> None:
        """Hand on the turn."""
        self._turn[(number + 1) % len(self._turn)].release()

    def run(self, number: int, work: Callable[[], None]) -> None:
        """Do the work of a thread from its first turn on."""
        self._turn[number].acquire()
        try:
            work()
        except BaseException:
            self.failure = self.failure or traceback.format_exc()
            raise
        finally:
            self.leave(number)


def step_seconds(size: Size, folder: Path) -> np.ndarray:
    """Return CPU seconds ``(contestant, step)`` of the steps that count."""
    turns = Turns(len(CONTESTANTS))
    threads = []
    for number, (name, contestant) in enumerate(CONTESTANTS.items()):
        torch.manual_seed(SEED)
        model = Language(size, lambda number=number: turns.tick(number))
        place = folder / name

        def work(contestant=contestant, model=model, place=place) -> None:
            contestant(model, size, place)

        threads.append(threading.Thread(target=turns.run, args=(number, work)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if turns.failure:
        raise RuntimeError(turns.failure)
    # The first tick ends what came before the first step.
    return np.array([taken[1 + WARM_UP :] for taken in turns.taken_s])


def bootstrap(ratio: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a median."""
    random = np.random.default_rng(SEED)
    medians = np.median(random.choice(ratio, (2000, len(ratio))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def measure_steps(size: Size) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        taken_s = step_seconds(size, Path(folder))
    base_s = taken_s[0]
    for name, own_s in zip(CONTESTANTS, taken_s, strict=True):
        if name == "plain loop":
            yield Measurement(
                metric=f"{size.name}: a step of the plain loop",
                value=float(np.median(own_s)) * 1e3,
                unit="ms CPU",
                interval=tuple(1e3 * x for x in bootstrap(own_s)),  # pyright: ignore
                n=len(own_s),
            )
            continue
        ratio = own_s / base_s
        yield Measurement(
            metric=f"{size.name}: a step in {name} over the plain loop",
            value=float(np.median(ratio)),
            unit="times",
            interval=bootstrap(ratio),
            n=len(ratio),
            compared_with=f"plain loop {np.median(base_s) * 1e3:.1f} ms",
            target="<= 1.03" if name == "Loopwright" else "",
        )


def peak_mib(name: str, size: Size) -> float:
    """Return the peak memory of one contestant, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.trainer", "--memory", name, size.name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


def print_peak(name: str, size_name: str) -> None:
    """Train and print the peak of memory in use over that before, in MiB."""
    if name in MODULES:
        importlib.import_module(MODULES[name])
    size = next(size for size in SIZES if size.name == size_name)
    few = Size(**{**{f: getattr(size, f) for f in Size.__dataclass_fields__}, "steps": 12})
    torch.manual_seed(SEED)
    model = Language(few, lambda: None)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before = _status_kib("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        CONTESTANTS[name](model, few, Path(folder))
    print(json.dumps((_status_kib("VmHWM") - before) / 1024))


def _status_kib(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def measure_memory(size: Size, repeats: int) -> Iterator[Measurement]:
    peaks = {name: [peak_mib(name, size) for _ in range(repeats)] for name in CONTESTANTS}
    base = float(np.median(peaks["plain loop"]))
    for name, found in peaks.items():
        yield Measurement(
            metric=f"{size.name}: peak memory of {name} over that before training",
            value=float(np.median(found)),
            unit="MiB",
            interval=(min(found), max(found)) if repeats > 1 else None,
            n=repeats,
            compared_with="" if name == "plain loop" else f"plain loop {base:.0f} MiB",
        )


def main() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)
    if sys.argv[1:2] == ["--memory"]:
        print_peak(*sys.argv[2:])
        return
    with Benchmark("trainer", "A training step, and what the trainer adds", seeds=(SEED,)) as bench:
        sizes = SIZES[:1] if bench.quick else SIZES
        for size in bench.track(sizes, "steps"):
            for measurement in measure_steps(size):
                bench.add(measurement)
        for measurement in measure_memory(SIZES[-1], repeats=1):
            bench.add(measurement)
        bench.note(
            "Float32, one thread; sparse transformers (8 experts, 2 chosen) of widths "
            f"{', '.join(str(size.width) for size in SIZES)}. A ratio is the median over steps of "
            "the step's CPU time over that of the plain loop's step of the same round; intervals "
            "by bootstrap. Ours writes metrics and progress and balances the experts. No "
            "checkpoint is in a step's time; ours writes one at the end, and its memory holds that."
        )


if __name__ == "__main__":
    main()
