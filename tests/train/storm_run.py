"""Trains a small sparse transformer in children of this process, each killed but the last.

    storm_run.py FOLDER KILLS

A child kills itself up to five steps after where it went on, at a random moment: in the forward or
backward pass, in the optimiser, or while it writes a checkpoint. Writes out how many died so.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import torch
from spread_run import fresh_model, loss_of
from torch import Tensor

from loopwright.train.trainer import Portion, TrainerConfig, train

CONFIG = TrainerConfig(
    steps=60,
    accumulate=2,
    precision="bfloat16",
    average_decay=0.9,
    learning_rate=3e-3,
    checkpoint_every_steps=4,
    log_every_steps=1,
)


def learn(folder: Path, dice: random.Random | None) -> None:
    model = fresh_model()
    loss_at = loss_of(model)
    begun_s: list[float] = []
    lives = dice.randint(1, 5) if dice else 0

    def until_death(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
        if portion.index == 0:
            begun_s.append(time.monotonic())
        if dice and len(begun_s) == lives and portion.index == 0:
            # Within a step and a half, so that slow and fast machines die at the same places.
            step_s = begun_s[-1] - begun_s[-2] if lives > 1 else 0.01
            threading.Thread(target=die, args=(dice.uniform(0, 1.5 * step_s),)).start()
        return loss_at(portion)

    train(
        model,
        until_death,
        CONFIG,
        name="run",
        identity="test",
        folder=folder,
        progress=lambda *_: None,
    )


def die(after_s: float) -> None:
    time.sleep(after_s)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    torch.set_num_threads(1)
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    killed = 0
    for life in range(kills + 1):
        child = os.fork()
        if child == 0:
            learn(folder, random.Random(life) if life < kills else None)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or status == 0, status
        killed += os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main()
