"""A fault of the machine in the middle of an attempt, wherever in a loop it strikes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_loop import StopsAfter, digest_of, turn

from loopwright.core.scenario import split_of
from loopwright.loop.config import LoopConfig
from loopwright.scenarios.point.world import PointWorld
from loopwright.store.episodes import is_cut_short
from loopwright.store.workspace import Workspace


@pytest.mark.parametrize("purpose", ["operate", "gate", "sealed"])
def test_an_attempt_that_is_cut_short_costs_one_verdict_and_not_the_run(
    tmp_path: Path, config: LoopConfig, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    split = "train" if purpose == "operate" else purpose
    with monkeypatch.context() as fault:
        struck = strike(fault, split)
        records, ending = turn(tmp_path, config)
    assert struck, "the fault never happened"
    assert ending is not None
    trials = [t for r in records for t in (r.operated, r.champion_trials, r.challenger_trials) if t]
    trials += [ending.first, ending.last]
    known = dict(p for t in trials for p in zip(t.episodes, t.outcomes, strict=True))
    short = [e for e in known if is_cut_short(e)]
    assert len(short) == 1
    assert known[short[0]] == "unknown"
    with Workspace.open(tmp_path) as workspace:
        assert all((workspace.episodes_folder / e).is_dir() for e in known)
    # The fault is gone: nothing is run again, and nothing contradicts what is on record.
    assert digest_of(turn(tmp_path, config, StopsAfter(0))) == digest_of((records, ending))


def test_another_stage_takes_over_that_an_attempt_was_cut_short(
    tmp_path: Path, config: LoopConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(config, rounds=())
    with monkeypatch.context() as fault:
        strike(fault, "sealed")
        _, before = turn(tmp_path, small)
    _, after = turn(tmp_path, replace(small, sealed_episodes=5))
    assert before is not None
    assert after is not None
    assert "unknown" in before.first.outcomes
    assert after.first.episodes[:4] == before.first.episodes
    assert after.first.outcomes[:4] == before.first.outcomes


def strike(patch: pytest.MonkeyPatch, split: str) -> list[int]:
    """Let the first attempt at a start of a split be cut short at its third step."""
    struck: list[int] = []
    reset, step = PointWorld.reset, PointWorld.step
    state = {"seed": 0, "steps": 0}

    def counting_reset(self, seed):
        state.update(seed=seed, steps=0)
        return reset(self, seed)

    def failing_step(self, action):
        state["steps"] += 1
        attempted = split != "train" or state["seed"] >= 4_000_000
        if not struck and split_of(state["seed"]) == split and attempted and state["steps"] == 3:
            struck.append(state["seed"])
            raise OSError("device lost")
        return step(self, action)

    patch.setattr(PointWorld, "reset", counting_reset)
    patch.setattr(PointWorld, "step", failing_step)
    return struck
