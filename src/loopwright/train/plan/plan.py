"""What a training would need on many accelerators: calculated, never run.

A step is planned; so is what comes before the first one and at every checkpoint, for which the
trainer holds the whole model in one process.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from loopwright.train.parallel import ParallelConfig
from loopwright.train.plan.machine import GIB, Machine
from loopwright.train.plan.passes import Pass
from loopwright.train.plan.shares import Shares


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Memory and time of a step on one of many devices, the one that holds most."""

    devices: int
    parallel: ParallelConfig
    precision: str
    machine: Machine
    shares: Shares
    turns: int
    """Portions of a batch that a process computes one after the other."""
    rows: int
    """Sequences of one portion."""
    step_tokens: int
    """Of all devices."""
    keeping: Pass
    """With the activations of every block kept."""
    recomputing: Pass
    """With those of one block at a time."""

    @property
    def chosen(self) -> Pass:
        """The pass as the recipe wants it."""
        return self.recomputing if self.parallel.recompute else self.keeping

    @property
    def memory(self) -> dict[str, int]:
        """Bytes by what they hold."""
        return {
            "weights": self.shares.weights,
            "gradients": self.shares.gradients,
            "optimiser": self.shares.optimiser,
            "gathered": self.shares.gathered,
            "activations": self.chosen.most,
        }

    @property
    def missing_bytes(self) -> float:
        """How much a step needs beyond what a device has; below zero if it fits."""
        return sum(self.memory.values()) - self.machine.usable_bytes

    @property
    def fits(self) -> bool:
        """Whether a step does."""
        return self.missing_bytes <= 0

    @property
    def start_missing_bytes(self) -> float:
        """The same for the start: a process makes the whole model before it keeps its share."""
        return self.shares.parameters * 4 - self.machine.usable_bytes

    @property
    def flops(self) -> float:
        """Operations of one device in a step."""
        return self.chosen.flops * self.turns

    @property
    def traffic(self) -> dict[str, float]:
        """Bytes that one device sends in a step, by why."""
        return {
            "gather_weights": self.shares.gather_traffic * self.turns,
            "sum_gradients": self.shares.reduce_traffic,
            "experts": self.chosen.token_traffic * self.turns,
            "split_matrices": self.chosen.split_traffic * self.turns,
        }

    @property
    def spans(self) -> dict[str, int]:
        """Processes from the first to the last of those that exchange, by why."""
        tensor, expert = self.parallel.tensor, self.parallel.tensor * self.parallel.expert
        return {
            "gather_weights": self.devices,
            "sum_gradients": self.devices,
            "experts": expert,
            "split_matrices": tensor,
        }

    @property
    def exchange_s(self) -> dict[str, float]:
        """How long each exchange takes if nothing else goes on."""
        spans = self.spans
        return {
            name: self.machine.exchange_s(sent, span=spans[name])
            for name, sent in self.traffic.items()
        }

    @property
    def step_s(self) -> tuple[float, float]:
        """Shortest and longest time of a step.

        At best weights and gradients travel while the higher share of the peak is computed; at
        worst they wait for each other, and the lower share is. Tokens always wait.
        """
        took = self.exchange_s
        data = took["gather_weights"] + took["sum_gradients"]
        tokens = took["experts"] + took["split_matrices"]
        slow, fast = (self.flops / (self.machine.peak_tflop_s * 1e12 * m) for m in self.machine.mfu)
        return max(fast, data) + tokens, slow + data + tokens

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data, marked as planned."""
        shares, low_high = self.shares, self.step_s
        return {
            "planned": True,
            "trained": False,
            "devices": self.devices,
            "parallel": asdict(self.parallel),
            "precision": self.precision,
            "machine": asdict(self.machine),
            "parameters": shares.parameters,
            "active_parameters": shares.active,
            "rows": self.rows,
            "turns": self.turns,
            "step_tokens": self.step_tokens,
            "memory_bytes": self.memory,
            "activation_bytes": {
                "kept": self.keeping.most,
                "recomputed": self.recomputing.most,
            },
            "usable_bytes": self.machine.usable_bytes,
            "missing_bytes": self.missing_bytes,
            "fits": self.fits,
            "start_missing_bytes": self.start_missing_bytes,
            "checkpoint_bytes": shares.whole_state,
            "flops": self.flops,
            "traffic_bytes": self.traffic,
            "exchange_s": self.exchange_s,
            "step_s": low_high,
            "tokens_per_s": [self.step_tokens / s for s in reversed(low_high)],
        }


def gib(size: float) -> str:
    """Return a number of bytes for people."""
    return f"{size / GIB:,.0f} GiB" if size >= 100 * GIB else f"{size / GIB:,.2f} GiB"
