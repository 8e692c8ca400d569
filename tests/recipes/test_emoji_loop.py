"""The loop around the painter, cut down: on drawings made here, with a few steps of training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

import painted_emoji
from loopwright.compute.execute import InProcessExecutor
from loopwright.core.canvas import PaintRequest
from loopwright.loop.config import LoopConfig
from loopwright.loop.engine import Engine
from loopwright.loop.gate import GateConfig
from loopwright.loop.rounds import Loop
from loopwright.loop.story import tell
from loopwright.recipes.emoji import tiny_learner
from loopwright.recipes.registry import get_recipe
from loopwright.report.page import write_page
from loopwright.scenarios.registry import get_scenario
from loopwright.store.episodes import EpisodeReader
from loopwright.store.workspace import Workspace


def test_recipes_survive_their_json():
    for name in ("emoji", "emoji-tiny"):
        config = get_recipe(name)
        assert LoopConfig.from_json(config.to_json()) == config
        assert config.rounds[0].planted
        assert get_scenario(config.scenario).id == config.scenario


def cut_down() -> LoopConfig:
    config = get_recipe("emoji-tiny")
    plans = [
        replace(plan, learner=tiny_learner(picture_steps=20, steps=steps))
        for plan, steps in zip(config.plans, (2, 1, 60, 60), strict=True)
    ]
    return replace(
        config,
        genesis=plans[0],
        rounds=tuple(plans[1:]),
        gate=GateConfig(max_pairs=20),
        operate_episodes=6,
        sealed_episodes=6,
        film_px=64,
    )


@pytest.mark.slow
def test_the_loop_turns_on_paintings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    painted_emoji.write_cache(tmp_path / "cache/loopwright", monkeypatch, 16)
    with (
        Workspace.create(tmp_path / "workspace", exclusive=True) as workspace,
        patch("loopwright.loop.engine.code_digest", lambda: "this code"),
    ):
        loop = Loop(cut_down(), Engine(workspace, InProcessExecutor(), parallel=1))
        records = loop.run()
        ending = loop.end()
        assert len(records) == 4
        assert records[1].decision == "refuse"  # the planted one
        assert ending is not None
        reader = EpisodeReader(workspace)
        headers = [reader.read(e).header for e in ending.last.episodes]
        asked = [PaintRequest.from_instruction(header.instruction).text for header in headers]
        assert len(set(asked)) > 1
        (run,) = workspace.ledger.runs()
        report = tell(workspace, run)
        assert [film.caption for film in report.films] == [h.instruction for h in headers[:3]]
        assert write_page(report, tmp_path / "page.html").stat().st_size > 10_000
