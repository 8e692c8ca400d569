"""The small loop that ``loop_faults`` kills: every kind of stage, a few episodes each."""

from __future__ import annotations

from dataclasses import replace

from loopwright.core.scenario import Request
from loopwright.loop.config import LoopConfig
from loopwright.recipes.smoke import smoke


def recipe() -> LoopConfig:
    """Four rounds of the smoke recipe with as few episodes as still earn a promotion."""
    whole = smoke()
    return replace(
        whole,
        name="faults",
        genesis=replace(
            whole.genesis,
            requests=(
                Request(kind="demo", count=12),
                Request(kind="play", count=2, first=1_000_000),
            ),
        ),
        gate=replace(whole.gate, max_pairs=20),
        operate_episodes=4,
        sealed_episodes=4,
        film_px=32,
    )
