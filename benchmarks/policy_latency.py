"""A policy step and a training step: the world action model beside ACT, in one run.

Both look through one camera at random pixels and have random weights; only time is measured, in
CPU time of one thread. ACT has LeRobot's default shape (51.6 M parameters, ``benchmarks/act.py``).
A training step is forward, backward, clipping and AdamW on a batch that is already in memory. The
world action model's is its joint loss, future included.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.act import Act, ActConfig
from benchmarks.harness import Benchmark, Measurement
from loopwright.core.interface import CameraSpec, Interface, Observation, VectorSpec
from loopwright.core.policy import Policy
from loopwright.models.wam.config import sized
from loopwright.models.wam.loss import PolicyBatch, PolicyWeights, policy_loss
from loopwright.models.wam.model import Wam
from loopwright.models.wam.sample import WamPolicy

SEED = 0
BATCH = 8
"""LeRobot's default, for both."""
TASK = "press the button"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One size of image, and the chunk that ACT predicts on it."""

    height_px: int
    width_px: int
    act_chunk: int
    act_steps: int
    """Policy steps of ACT that are timed."""
    train_steps: int

    @property
    def name(self) -> str:
        return f"{self.height_px}x{self.width_px}"

    @property
    def interface(self) -> Interface:
        """A Meta-World-like robot: one camera, four numbers in and out."""
        four = VectorSpec(
            names=("x", "y", "z", "grip"),
            units=("m",) * 3 + ("1",),
            low=(-1.0,) * 4,
            high=(1.0,) * 4,
        )
        camera = CameraSpec(name="camera", height_px=self.height_px, width_px=self.width_px)
        return Interface(cameras=(camera,), proprio=four, action=four, rate_hz=40.0)


CASES = (
    Case(height_px=64, width_px=64, act_chunk=16, act_steps=60, train_steps=10),
    Case(height_px=96, width_px=96, act_chunk=100, act_steps=40, train_steps=6),
    Case(height_px=480, width_px=640, act_chunk=100, act_steps=15, train_steps=3),
)


class ActPolicy:
    """ACT behind the protocol of a policy, from uint8 pixels to actions."""

    def __init__(self, model: Act) -> None:
        self.model = model.eval()

    def reset(self, seed: int) -> None:
        """Do nothing: there is no memory."""

    def act(self, observation: Observation) -> np.ndarray:
        """Return the whole chunk ``(K, A)``."""
        with torch.inference_mode():
            pixels = torch.from_numpy(observation.images["camera"]).permute(2, 0, 1)
            image = (pixels.float() / 255.0 - 0.45) / 0.225
            proprio = torch.from_numpy(observation.proprio)
            return self.model.act(image[None, None], proprio[None])[0].numpy()


def cpu_ms(call: Callable[[], object], *, repeats: int, warm_up: int) -> np.ndarray:
    """Return the CPU milliseconds of each of ``repeats`` calls, the collector switched off."""
    for _ in range(warm_up):
        call()
    taken = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            began = time.process_time()
            call()
            taken.append(1000.0 * (time.process_time() - began))
    finally:
        gc.enable()
    return np.sort(taken)


def quantile_interval(ordered: np.ndarray, share: float) -> tuple[float, float]:
    """Return the 95 % interval of a quantile from order statistics; free of any distribution."""
    count = len(ordered)
    spread = 1.96 * math.sqrt(count * share * (1.0 - share))
    low = max(0, math.floor(count * share - spread))
    high = min(count - 1, math.ceil(count * share + spread))
    return float(ordered[low]), float(ordered[high])


def observations(case: Case, count: int) -> list[Observation]:
    """Return random observations, so that no call sees what the last one saw."""
    random = np.random.default_rng(SEED)
    shape = (case.height_px, case.width_px, 3)
    return [
        Observation(
            images={"camera": random.integers(0, 256, size=shape, dtype=np.uint8)},
            proprio=random.uniform(-1, 1, size=4).astype(np.float32),
            instruction=TASK,
        )
        for _ in range(count)
    ]


def step_ms(policy: Policy, case: Case, repeats: int) -> np.ndarray:
    """Time the steps of a policy."""
    seen = observations(case, 16)
    calls = iter(range(10**9))
    policy.reset(SEED)
    return cpu_ms(lambda: policy.act(seen[next(calls) % len(seen)]), repeats=repeats, warm_up=3)


def training_ms(model: nn.Module, loss: Callable[[], Tensor], repeats: int) -> np.ndarray:
    """Time forward, backward, clipping and AdamW."""
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()

    return cpu_ms(step, repeats=repeats, warm_up=1)


def make_wam(case: Case) -> Wam:
    torch.manual_seed(SEED)
    # Cells of four pixels, as at 64 px; the motion models take no part in what is timed.
    return Wam(sized("small", case.interface, (TASK,), motion_cells=case.height_px // 4))


def make_act(case: Case) -> Act:
    torch.manual_seed(SEED)
    return Act(ActConfig(chunk=case.act_chunk, proprio_size=4, action_size=4))


def wam_loss(model: Wam, case: Case) -> Callable[[], Tensor]:
    """Return the joint loss on one random batch."""
    config, pixels = model.config, (BATCH, case.height_px, case.width_px, 3)
    batch = PolicyBatch(
        image_BHWC=torch.randint(0, 256, pixels, dtype=torch.uint8),
        proprio_BP=torch.rand(BATCH, 4),
        known_B=torch.ones(BATCH, dtype=torch.bool),
        task_B=torch.zeros(BATCH, dtype=torch.long),
        chunk_BKA=torch.rand(BATCH, config.chunk, 4),
        weight_BKA=torch.ones(BATCH, config.chunk, 4),
        future_RHWC=torch.randint(0, 256, pixels, dtype=torch.uint8),
    )
    return lambda: policy_loss(model, batch, PolicyWeights())[0]


def act_loss(model: Act, case: Case) -> Callable[[], Tensor]:
    """Return ACT's loss on one random batch."""
    images = torch.rand(BATCH, 1, 3, case.height_px, case.width_px)
    proprio, actions = torch.rand(BATCH, 4), torch.rand(BATCH, case.act_chunk, 4)
    return lambda: model.loss(images, proprio, actions)


def millions(model: nn.Module) -> float:
    return sum(p.numel() for p in model.parameters()) / 1e6


def measure(case: Case, *, fewer: int) -> Iterator[Measurement]:
    """Measure one size; the world action model wants square images and skips the others.

    Args:
        case: The size.
        fewer: Divides the number of repeats.
    """
    train_steps = max(2, case.train_steps // fewer)
    act = make_act(case)
    act_step = step_ms(ActPolicy(act), case, case.act_steps // fewer)
    act_train = training_ms(act, act_loss(act, case), train_steps)
    yield quantile(f"{case.name} ACT policy step", act_step)
    yield quantile(f"{case.name} ACT training step", act_train)
    if case.height_px != case.width_px:
        return
    wam = make_wam(case)
    wam_step = step_ms(WamPolicy(wam, case.interface), case, 600 // fewer)
    wam_train = training_ms(wam, wam_loss(wam, case), 10 * train_steps)
    target = "<= 3" if case.height_px == 64 else ""
    name, rival = f"{case.name} world action model", f"ACT {np.median(act_step):.0f} ms"
    yield quantile(f"{name} policy step", wam_step, 0.5, rival, target)
    yield quantile(f"{name} policy step, p95", wam_step, 0.95, rival, target)
    yield quantile(f"{name} training step", wam_train, 0.5, f"ACT {np.median(act_train):.0f} ms")


def quantile(
    metric: str, ordered: np.ndarray, share: float = 0.5, compared_with: str = "", target: str = ""
) -> Measurement:
    """Return one quantile of timed calls, the median unless asked otherwise."""
    return Measurement(
        metric=metric,
        value=float(np.quantile(ordered, share)),
        unit="ms CPU",
        interval=quantile_interval(ordered, share),
        n=len(ordered),
        compared_with=compared_with,
        target=target,
    )


def sizes() -> str:
    """Describe the two networks."""
    wam, act = make_wam(CASES[0]), make_act(CASES[-1])
    return (
        f"World action model, size small: {millions(wam):.2f} M parameters, predicts "
        f"{wam.config.chunk} actions and runs {wam.config.execute} of them per step. ACT at "
        f"LeRobot's default shape: {millions(act):.1f} M, predicts "
        f"{', '.join(f'{case.act_chunk} ({case.name})' for case in CASES)} and runs all of them."
    )


def main() -> None:
    torch.set_num_threads(1)
    title = "Policy step and training step on one CPU thread"
    with Benchmark("policy_latency", title, seeds=(SEED,)) as bench:
        for case in bench.track(CASES, "sizes"):
            for measurement in measure(case, fewer=3 if bench.quick else 1):
                bench.add(measurement)
        bench.note(sizes())
        bench.note(
            f"Training: batch {BATCH} for both (LeRobot's default), in memory. Medians unless p95 "
            "is said; intervals by order statistics. The world action model takes square images "
            "only, so 480x640 is ACT's alone."
        )


if __name__ == "__main__":
    main()
