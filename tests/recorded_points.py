"""Real episodes of the smallest scenario, recorded, judged and annotated in a workspace."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from loopwright.core.episode import Annotation, Verdict
from loopwright.core.scenario import Request
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import attempt, record_sources
from loopwright.store.curate import Query, select
from loopwright.store.episodes import write_episode
from loopwright.store.snapshots import Snapshot
from loopwright.store.workspace import Workspace

SCENARIO = get_scenario("point-reach-v1")


class Idle:
    """A policy that fails by doing nothing."""

    name = "idle"

    def reset(self, seed: int) -> None:
        pass

    def act(self, observation: object) -> np.ndarray:
        return np.zeros((1, 2), np.float32)


def record_points(folder: Path, *, demos: int = 3, reason: str = "") -> Workspace:
    """Record demonstrations, two plays, a video, two failed attempts and a recording cut short."""
    workspace = Workspace.create(folder, exclusive=True)
    for request in (
        Request(kind="demo", count=demos),
        Request(kind="play", count=2, first=500),
        Request(kind="video", count=1, first=600),
    ):
        for episode, verdict in record_sources(SCENARIO, request):
            row = write_episode(workspace, episode)
            if verdict:
                workspace.ledger.add_verdict(verdict)
    with closing(SCENARIO.make_world()) as world:
        for seed in (700, 701):
            episode, verdict = attempt(SCENARIO, world, Idle(), seed, "c" * 64)
            row = write_episode(workspace, episode)
            workspace.ledger.add_verdict(replace(verdict, reason=reason or verdict.reason))
    workspace.ledger.add_annotation(
        Annotation(episode=row.id, label="stuck", author="ada", begin_step=3, end_step=9)
    )
    cut = replace(episode.header, seed=702, censored="the power went")
    write_episode(workspace, replace(episode, header=cut))
    return workspace


def everything(workspace: Workspace) -> Snapshot:
    return select(workspace, Query(censored=None))


def judged_by(episode: str, **changes: object) -> Verdict:
    fields = {"outcome": "success", "score": 1.0, "verifier": "operator/ada", "evidence_digest": ""}
    return Verdict(**{"episode": episode, "authority": "operator", **fields, **changes})
