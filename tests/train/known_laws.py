"""Runs whose law is known: what a fit is to find."""

from __future__ import annotations

import numpy as np

from loopwright.train.scaling.law import Law, ScalingRun

CHINCHILLA = Law(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
"""As estimated again from Chinchilla's figure by Besiroglu et al. (2024)."""
SMALL = Law(E=0.8, A=60.0, B=900.0, alpha=0.3, beta=0.4)

SIZES = tuple(np.geomspace(1e6, 3e7, 4).tolist())
TOKENS = tuple(np.geomspace(2e7, 1e9, 3).tolist())


def runs_of(
    law: Law,
    *,
    noise: float = 0.0,
    seed: int = 0,
    sizes: tuple[float, ...] = SIZES,
    tokens: tuple[float, ...] = TOKENS,
) -> list[ScalingRun]:
    """Train in no time: each size on each amount of data, with noise on the log loss."""
    luck = np.random.default_rng(seed)
    return [
        ScalingRun(
            params=n,
            tokens=d,
            loss=law.loss(n, d) * float(np.exp(noise * luck.standard_normal())),
            label=f"{n / 1e6:.1f}M",
        )
        for n in sizes
        for d in tokens
    ]
