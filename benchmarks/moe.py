"""A sparse layer beside others that compute the same: a loop, transformers', and dense ones.

One run, forward and backward, the contenders taking turns in an order drawn anew each time. All
experts hold the same numbers, and the outputs of all sparse layers on the same routing are held
against each other before anything is timed. Loads are those of a fresh router, and every turn
takes the next of several inputs.

On a CPU the time is that of one thread of the process. With an accelerator (``--device``) it is
time between synchronised clocks, and tokens/s, MFU and peak memory are given too.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.harness import Benchmark, Measurement
from loopwright.models.layers.feedforward import SwiGLU
from loopwright.models.layers.mixture import MixtureConfig, MixtureOfExperts

SEED = 0
INPUTS = 4
OURS, LOOP, FLOOR = "ours", "loop over experts", "the matrix products alone"
ACTIVE, TOTAL = "dense, active size", "dense, total size"
RIVALS = ("Mixtral", "Qwen3-MoE")
AUTOCAST = "autocast"
RESAMPLES = 4000
SLOW_EVERY = 3
"""Turns from one timing of the dense layer of total size to the next; it is far from the rest."""
AGREEMENT = {"float32": 1e-5, "bfloat16": 0.03, AUTOCAST: 0.03}
"""Largest difference of outputs, as a share of their largest value."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shape in one precision."""

    tokens: int
    width: int
    experts: int
    chosen: int
    hidden: int
    precision: str = "float32"
    device: str = "cpu"

    @property
    def name(self) -> str:
        return f"{self.experts} experts top {self.chosen}, {self.tokens}x{self.width}"

    @property
    def weight_dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    @property
    def product_dtype(self) -> torch.dtype:
        return torch.float32 if self.precision == "float32" else torch.bfloat16

    @property
    def active_flops(self) -> int:
        """Operations of the experts' products, forward and backward."""
        return 3 * 2 * self.tokens * self.chosen * 3 * self.width * self.hidden

    def casting(self) -> AbstractContextManager[object]:
        if self.precision != AUTOCAST:
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)


SHAPES = (
    Case(tokens=2048, width=256, experts=8, chosen=2, hidden=256),
    Case(tokens=2048, width=256, experts=32, chosen=4, hidden=128),
    Case(tokens=4096, width=512, experts=8, chosen=2, hidden=512),
)


class LoopOverExperts(nn.Module):
    """What is written first: find each expert's tokens, compute them, add them up."""

    def __init__(self, ours: MixtureOfExperts) -> None:
        super().__init__()
        self.router, self.experts = ours.router, ours.experts

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        routing = self.router(rows)
        mixed = torch.zeros_like(rows)
        weights = zip(self.experts.gate_value_E2FD, self.experts.out_EDF, strict=True)
        for number, (gate_value, out) in enumerate(weights):
            token, place = torch.where(routing.expert_NC == number)
            gate, value = F.linear(rows[token], gate_value).chunk(2, dim=-1)
            done = F.linear(F.silu(gate) * value, out)
            share = routing.weight_NC[token, place, None].to(done.dtype)
            mixed.index_add_(0, token, (done * share).to(mixed.dtype))
        return mixed.view_as(x)


def rival(name: str, kernel: str, ours: MixtureOfExperts) -> nn.Module:
    """Return a sparse block of transformers with our weights."""
    from transformers.models.mixtral.configuration_mixtral import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
    from transformers.models.qwen3_moe.configuration_qwen3_moe import Qwen3MoeConfig
    from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

    width, size = ours.router.score.in_features, ours.config
    sizes = {
        "hidden_size": width,
        "intermediate_size": size.hidden,
        "moe_intermediate_size": size.hidden,
        "num_local_experts": size.experts,
        "num_experts": size.experts,
        "num_experts_per_tok": size.chosen,
        "norm_topk_prob": True,
    }
    kinds: dict[str, tuple[Any, Any]] = {
        "Mixtral": (MixtralConfig, MixtralSparseMoeBlock),
        "Qwen3-MoE": (Qwen3MoeConfig, Qwen3MoeSparseMoeBlock),
    }
    make_config, make_block = kinds[name]
    config = make_config(**sizes)
    config._experts_implementation = kernel
    block = make_block(config).to(ours.experts.out_EDF)
    with torch.no_grad():
        block.gate.weight.copy_(ours.router.score.weight)
        block.experts.gate_up_proj.copy_(ours.experts.gate_value_E2FD)
        block.experts.down_proj.copy_(ours.experts.out_EDF)
    return block


def contenders(case: Case) -> dict[str, nn.Module]:
    """Return every layer of one case, by name."""
    torch.manual_seed(SEED)
    config = MixtureConfig(experts=case.experts, chosen=case.chosen, hidden=case.hidden)
    ours = MixtureOfExperts(config, width=case.width).to(case.device, case.weight_dtype)
    layers: dict[str, nn.Module] = {OURS: ours, LOOP: LoopOverExperts(ours)}
    for name in RIVALS:
        for kernel in ("grouped_mm", "eager"):
            layers[f"{name} {kernel}"] = rival(name, kernel, ours)
    for name, count in ((ACTIVE, case.chosen), (TOTAL, case.experts)):
        dense = SwiGLU(width=case.width, hidden=case.hidden * count)
        layers[name] = dense.to(case.device, case.weight_dtype)
    return layers


def disagreement(case: Case, layers: dict[str, nn.Module], x: Tensor) -> dict[str, float]:
    """Return how far each sparse layer is from ours on our routing, as a share of the largest."""
    ours = layers[OURS]
    assert isinstance(ours, MixtureOfExperts)
    rows = x.detach().flatten(0, 1)
    found = {}
    with torch.no_grad(), case.casting():
        expected = ours(x).flatten(0, 1)
        routing = ours.routing
        assert routing is not None
        for name, layer in layers.items():
            if name == LOOP:
                got = layer(x).flatten(0, 1)
            elif name.startswith(RIVALS):
                experts = layer.get_submodule("experts")
                share = routing.weight_NC.to(case.weight_dtype)
                got = experts(rows, routing.expert_NC, share)
            else:
                continue
            difference = (got.float() - expected.float()).abs().max()
            found[name] = float(difference / expected.float().abs().max())
    return found


def products(case: Case) -> Callable[[], None]:
    """Return the six products of every expert at even loads and nothing else.

    Their operands are there already and their results are written over, so this is what arithmetic
    costs at the rate of the machine's own library.
    """
    dtype, copies = case.product_dtype, case.tokens * case.chosen
    make = {"dtype": dtype, "device": case.device}
    left, right = torch.randn(copies, case.width, **make), torch.empty(copies, case.width, **make)
    wide, narrow = (torch.randn(copies, n * case.hidden, **make) for n in (2, 1))
    first = torch.randn(case.experts, 2 * case.hidden, case.width, **make)
    second = torch.randn(case.experts, case.width, case.hidden, **make)
    first_gradient, second_gradient = torch.empty_like(first), torch.empty_like(second)
    load = copies // case.experts

    def run() -> None:
        for e in range(case.experts):
            rows = slice(e * load, (e + 1) * load)
            torch.mm(left[rows], first[e].t(), out=wide[rows])
            torch.mm(narrow[rows], second[e].t(), out=right[rows])
            torch.mm(left[rows], second[e], out=narrow[rows])
            torch.mm(left[rows].t(), narrow[rows], out=second_gradient[e])
            torch.mm(wide[rows].t(), left[rows], out=first_gradient[e])
            torch.mm(wide[rows], first[e], out=right[rows])

    return run


def traffic_bytes(case: Case) -> int:
    """Return the bytes that must move even if each tensor is read and written as rarely as can be.

    Forward: tokens to copies, gate and value written and read, hidden written and read, results
    written and read, tokens written. Backward: twice that, the copies being read once more for the
    gradient of the weights. Weights: read twice, their gradients written once.
    """
    item = case.product_dtype.itemsize
    copies = case.tokens * case.chosen
    forward = copies * (3 * case.width + 6 * case.hidden) + 2 * case.tokens * case.width
    weights = 3 * case.experts * case.width * case.hidden
    stored = case.weight_dtype.itemsize
    return 3 * forward * item + 3 * weights * stored


def copy_bytes_per_s(device: str) -> float:
    """Return the rate of copying memory that no cache holds, both ways counted."""
    source = torch.ones(64 * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    fastest = min(seconds(lambda: target.copy_(source), device) for _ in range(15))
    return 2 * source.numel() / fastest


def seconds(call: Callable[[], object], device: str) -> float:
    """Return CPU-seconds of this process, or wall seconds of an accelerator."""
    if torch.device(device).type == "cpu":
        began = time.process_time()
        call()
        return time.process_time() - began
    torch.accelerator.synchronize()
    began = time.perf_counter()
    call()
    torch.accelerator.synchronize()
    return time.perf_counter() - began


def step(case: Case, layer: nn.Module, x: Tensor, given: Tensor) -> None:
    """Go forward and back once, gradients freshly made as a trainer has them."""
    layer.zero_grad(set_to_none=True)
    x.grad = None
    with case.casting():
        out = layer(x)
    out.backward(given.to(out.dtype))


def peak_mib(call: Callable[[], None], device: str) -> float:
    """Return the accelerator memory that a call needs at most, beyond what was there."""
    torch.accelerator.synchronize()
    before = torch.accelerator.memory_allocated(device)
    torch.accelerator.reset_peak_memory_stats(device)
    call()
    torch.accelerator.synchronize()
    return (torch.accelerator.max_memory_allocated(device) - before) / 2**20


def kept_mib(case: Case, layer: nn.Module, x: Tensor) -> float:
    """Return what forward keeps for backward, weights and input not counted."""
    known = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    known.add(x.untyped_storage().data_ptr())
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    alive = []
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), case.casting():
        alive.append(layer(x))
    return sum(kept.values()) / 2**20


def measure(case: Case, repeats: int, peak_flops: float | None, bench: Benchmark) -> None:
    """Time one case and take its measurements in."""
    layers = contenders(case)
    turns = turns_of(case, layers)
    apart = disagreement(case, layers, turns.inputs[0])
    worst = max(apart, key=lambda name: apart[name])
    if apart[worst] > AGREEMENT[case.precision]:
        raise AssertionError(f"{case.name} {case.precision}: {worst} differs by {apart[worst]:.2g}")
    times = taking_turns(case, turns.calls, repeats)
    kept = {name: kept_mib(case, layer, turns.inputs[0]) for name, layer in layers.items()}
    peaks = {}
    if torch.device(case.device).type != "cpu":
        peaks = {name: peak_mib(call, case.device) for name, call in turns.calls(0).items()}
    for measurement in judged(case, times, apart[worst]):
        bench.add(measurement)
    for name, ms in times.items():
        bench.details.append(
            {
                **detail(case, name, ms, peak_flops),
                "kept_mib": kept.get(name),
                "peak_mib": peaks.get(name),
                "difference": apart.get(name),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What is called in each turn, and the inputs that turns take one after the other."""

    calls: Callable[[int], dict[str, Callable[[], None]]]
    inputs: list[Tensor]


def turns_of(case: Case, layers: dict[str, nn.Module]) -> Turns:
    """Draw the inputs of one case and the gradients that come back."""
    torch.manual_seed(SEED + 1)
    size = (1, case.tokens, case.width)

    def drawn(dtype: torch.dtype) -> list[Tensor]:
        return [torch.randn(size, dtype=dtype, device=case.device) for _ in range(INPUTS)]

    inputs, given = drawn(case.weight_dtype), drawn(case.product_dtype)
    alone = products(case)

    def calls(turn: int) -> dict[str, Callable[[], None]]:
        x, back = inputs[turn % INPUTS].requires_grad_(), given[turn % INPUTS]
        steps = {name: partial(step, case, layer, x, back) for name, layer in layers.items()}
        return {FLOOR: alone, **steps}

    return Turns(calls=calls, inputs=inputs)


def taking_turns(
    case: Case, calls: Callable[[int], dict[str, Callable[[], None]]], repeats: int
) -> dict[str, np.ndarray]:
    """Return milliseconds by contender; one turn per input first warms everything up."""
    taken: dict[str, list[float]] = {name: [] for name in calls(0)}
    shuffler = random.Random(SEED)
    for turn in range(-INPUTS, repeats):
        called = [pair for pair in calls(turn).items() if pair[0] != TOTAL or not turn % SLOW_EVERY]
        shuffler.shuffle(called)
        gc.collect()
        for name, call in called:
            ms = 1000.0 * seconds(call, case.device)
            if turn >= 0:
                taken[name].append(ms)
    return {name: np.array(ms) for name, ms in taken.items()}


def detail(case: Case, name: str, ms: np.ndarray, peak_flops: float | None) -> dict[str, Any]:
    """Return what is known of one contender, as plain data."""
    median_s = float(np.median(ms)) / 1000.0
    flops_per_s = case.active_flops / median_s
    return {
        "case": case.name,
        "precision": case.precision,
        "device": case.device,
        "contender": name,
        "median_ms": 1000.0 * median_s,
        "fastest_ms": float(ms.min()),
        "tokens_per_s": case.tokens / median_s,
        "active_gflop_per_s": flops_per_s / 1e9,
        "mfu": flops_per_s / peak_flops if peak_flops else None,
        "ms": [round(float(value), 3) for value in ms],
    }


def judged(case: Case, times: dict[str, np.ndarray], apart: float) -> list[Measurement]:
    """Return times and the ratios that are promised."""
    label = f"{case.name}, {case.precision}"
    unit = "ms CPU" if case.device == "cpu" else "ms"
    ours, typical = times[OURS], np.median(times[OURS])
    found = [
        Measurement(
            metric=f"{label}: {name}",
            value=float(np.median(values)),
            unit=unit,
            interval=interval(values),
            n=len(values),
            compared_with="" if name == OURS else f"{np.median(values) / typical:.2f} of ours",
        )
        for name, values in times.items()
    ]
    fastest = min((n for n in times if n.startswith(RIVALS)), key=lambda n: np.median(times[n]))
    for name, rival_name, target in (
        ("ours / faster transformers block", fastest, "<= 0.98" if case.experts > 8 else "<= 1"),
        ("ours / dense of active size", ACTIVE, ""),
        ("ours / the products alone", FLOOR, ""),
    ):
        value, low, high = ratio(ours, times[rival_name])
        found.append(
            Measurement(
                metric=f"{label}: {name}",
                value=value,
                unit="ratio",
                interval=(low, high),
                n=len(ours),
                compared_with=f"{rival_name} {np.median(times[rival_name]):.1f} {unit}",
                target=target,
            )
        )
    found.append(
        Measurement(
            metric=f"{label}: largest difference of outputs",
            value=apart,
            unit="share of the largest",
            n=None,
            compared_with="loop, Mixtral, Qwen3-MoE on our routing",
            target=f"<= {AGREEMENT[case.precision]:g}",
        )
    )
    return found


def ratio(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Return the median over turns of the quotient within a turn, and its bootstrap interval."""
    quotients = first / second
    low, high = interval(quotients)
    return float(np.median(quotients)), low, high


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a median."""
    drawn = np.random.default_rng(SEED).choice(values, size=(RESAMPLES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(low), float(high)


def floor_note(bench: Benchmark, case: Case, rate: float) -> str:
    """Say what arithmetic and memory allow in one case, and what is spent above it."""
    of_case = [
        d for d in bench.details if (d["case"], d["precision"]) == (case.name, case.precision)
    ]
    ms = {d["contender"]: d["median_ms"] for d in of_case}
    moved_ms = 1000.0 * traffic_bytes(case) / rate
    return (
        f"{case.name}, {case.precision}: {case.active_flops / 1e9:.1f} GFLOP take {ms[FLOOR]:.1f} "
        f"ms ({case.active_flops / ms[FLOOR] / 1e6:.0f} GFLOP/s), {traffic_bytes(case) / 2**20:.0f}"
        f" MiB at {rate / 2**30:.1f} GiB/s {moved_ms:.1f} ms: a floor of {ms[FLOOR] + moved_ms:.1f}"
        f" ms if nothing overlaps. Ours {ms[OURS]:.1f}, dense of active size {ms[ACTIVE]:.1f}."
    )


def memory_note(bench: Benchmark) -> str:
    """Say what each layer keeps for its backward pass."""
    said = []
    for case in dict.fromkeys((d["case"], d["precision"]) for d in bench.details):
        rows = {
            d["contender"]: d["kept_mib"]
            for d in bench.details
            if (d["case"], d["precision"]) == case and d["kept_mib"] is not None
        }
        rivals = min(v for n, v in rows.items() if n.startswith(RIVALS))
        said.append(f"{', '.join(case)}: {rows[OURS]:.0f} MiB against {rivals:.0f}")
    return f"Kept for backward, ours against the leanest transformers block: {'; '.join(said)}."


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    parser.add_argument("--device", default=str(accelerator) if accelerator else "cpu")
    parser.add_argument("--repeats", type=int, default=None, help="turns of every case")
    parser.add_argument(
        "--peak-tflops", type=float, default=None, help="of the device in bfloat16, for MFU"
    )
    return parser.parse_args()


def main() -> None:
    """Measure every case."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    asked = arguments()
    with Benchmark("moe", "A sparse layer, forward and backward", seeds=(SEED,)) as bench:
        repeats = asked.repeats or (5 if bench.quick else 15)
        precisions = ("float32", "bfloat16", AUTOCAST)
        cases = [
            replace(shape, precision=precision, device=asked.device)
            for shape in SHAPES[: 2 if bench.quick else None]
            for precision in precisions
        ]
        rate = copy_bytes_per_s(asked.device)
        peak_flops = asked.peak_tflops * 1e12 if asked.peak_tflops else None
        for case in bench.track(cases, "cases"):
            measure(case, repeats, peak_flops, bench)
        for case in cases:
            bench.note(floor_note(bench, case, rate))
        bench.note(memory_note(bench))
        bench.note(
            "Medians over turns in which all contenders run once in random order; ratios are "
            "medians of quotients within a turn; intervals by bootstrap. Autocast: float32 weights "
            "and inputs under torch.autocast(bfloat16), as the trainer has it; transformers' "
            "grouped products take no part in autocast and stay in float32."
        )
        if asked.device == "cpu":
            bench.note("No accelerator was there; pass --device where there is one.")


if __name__ == "__main__":
    main()
