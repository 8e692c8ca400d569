"""The scaling law: loss as a function of model size and training data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import numpy as np

from loopwright.core.errors import InvalidConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingRun:
    """One finished training run: how large, on how much, how good."""

    params: float
    """Active parameters: of a sparse model, those that one token meets."""
    tokens: float
    """Training tokens seen."""
    loss: float
    """Held-out loss at the end, in nats a token."""
    flops: float | None = None
    """Training FLOPs as measured or counted; None if nobody counted."""
    label: str = ""
    """What the size is called in its recipe."""

    def __post_init__(self) -> None:
        """Refuse what no training run can have."""
        values = {"params": self.params, "tokens": self.tokens, "loss": self.loss}
        if self.flops is not None:
            values["flops"] = self.flops
        for name, value in values.items():
            if not (math.isfinite(value) and value > 0):
                raise InvalidConfig(
                    f"run {self.label or f'with {self.params:g} parameters'!r} has {name} {value}; "
                    "expected a finite number above 0 (leave out runs that diverged)"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Law:
    """``L(N, D) = E + A N^-alpha + B D^-beta`` (Hoffmann et al. 2022, equation 2)."""

    E: float
    """Irreducible loss, in nats a token: what no size and no data remove."""
    A: float
    B: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        """Refuse a law that does not fall with size and data."""
        if not (self.E >= 0 and self.A > 0 and self.B > 0 and self.alpha > 0 and self.beta > 0):
            raise InvalidConfig(f"{self}; expected E at least 0 and the rest above 0")

    @overload
    def loss(self, params: float, tokens: float) -> float: ...
    @overload
    def loss(self, params: np.ndarray, tokens: np.ndarray | float) -> np.ndarray: ...
    @overload
    def loss(self, params: float, tokens: np.ndarray) -> np.ndarray: ...
    def loss(self, params: float | np.ndarray, tokens: float | np.ndarray) -> float | np.ndarray:
        """Return the loss in nats a token; arrays broadcast."""
        return self.E + self.A * params**-self.alpha + self.B * tokens**-self.beta
