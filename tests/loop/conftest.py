from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_loop import Whole, turn

from loopwright.loop.config import LoopConfig
from loopwright.recipes.registry import get_recipe


@pytest.fixture(autouse=True)
def _importable_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def config() -> LoopConfig:
    smoke = get_recipe("smoke")
    gate = replace(smoke.gate, max_pairs=20)
    return replace(smoke, gate=gate, operate_episodes=4, sealed_episodes=4, film_px=16)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, config: LoopConfig) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole(folder, *turn(folder, config))
