"""Kill -9 while recording: is anything that was committed lost, and how much of what was not?

A recorder in a process of its own records one episode after another and says each step once it
has handed it over and each episode once it is committed. It gets SIGKILL at random moments and at
every numbered crash point; then the workspace is opened as the next command would, and what is
there is held against what the recorder had said. The episodes are those of a small drawn world
with the real writer: films, rows, ledger, fsync.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from loopwright.core.control import run_episode
from loopwright.core.episode import EpisodeHeader
from loopwright.core.errors import LoopwrightError
from loopwright.core.interface import Observation
from loopwright.core.scenario import WorldStep
from loopwright.scenarios.registry import get_scenario
from loopwright.store.crashpoints import POINTS, VARIABLE
from loopwright.store.episodes import EpisodeReader, EpisodeWriter
from loopwright.store.snapshots import Snapshot, save_snapshot
from loopwright.store.workspace import Workspace

SEED = 20261122
SCENARIO, EPISODES, STEPS = "point-reach-v1", 300, 40
LONGEST_LIFE_S = 1.0
"""A recorder is killed this long after its first word at the latest."""


_LENGTHS = {"begin": 2, "step": 2, "committed": 3}
"""First word of what a recorder says, to the number of words."""


class Speaker:
    """A subscriber that comes after the writer and says what is recorded by now."""

    def on_begin(self, header: EpisodeHeader) -> None:
        print("begin", header.id, flush=True)
        self.steps = 0

    def on_step(self, observation: Observation, requested: np.ndarray, step: WorldStep) -> None:
        self.steps += 1
        print("step", self.steps, flush=True)

    def on_end(self, censored: str | None) -> None:
        pass


def record(root: Path) -> None:
    """Be the recorder."""
    scenario = get_scenario(SCENARIO)
    world = scenario.make_world()
    policy = scenario.behaviour("play", world)
    with Workspace.create(root, exclusive=True) as workspace:
        writer = EpisodeWriter(workspace)
        for seed in range(EPISODES):
            header = EpisodeHeader(
                scenario=scenario.id,
                kind="play",
                seed=seed,
                start=scenario.start(seed),
                instruction="",
                body="robot",
                interface=scenario.interface,
                evidence=scenario.evidence,
            )
            subscribers = (writer, Speaker())
            run_episode(
                world=world,
                policy=policy,
                header=header,
                max_steps=STEPS,
                subscribers=subscribers,
            )
            row = writer.commit()
            print("committed", row.id, row.digest, flush=True)
            save_snapshot(workspace, Snapshot(episodes=(row.id,)))


@dataclass
class Campaign:
    """What became of all killed recorders."""

    kills: int = 0
    committed: int = 0
    lost: int = 0
    unreadable: int = 0
    in_flight: int = 0
    """Episodes under way with at least one step said when the kill came."""
    steps_lost: Counter[int] = field(default_factory=Counter)
    """Steps said and not salvaged, per episode in flight."""
    quarantined: int = 0
    not_resumed: list[str] = field(default_factory=list)


def strike(root: Path, campaign: Campaign, *, moment_s: float | None, point: str | None) -> None:
    """Start a recorder, kill it, and hold what is left against what it had said."""
    environment = {**os.environ, **({VARIABLE: point} if point else {})}
    recorder = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.recorder_faults", "--record", str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert recorder.stdout is not None
    words = [recorder.stdout.readline()]
    if moment_s is not None:
        time.sleep(moment_s)
        recorder.kill()
    words += recorder.communicate()[0].splitlines()
    if recorder.returncode > 0:
        raise RuntimeError(f"the recorder failed by itself: {words[-3:]}")
    campaign.kills += recorder.returncode < 0
    # The last word may be cut in two.
    said = [w for w in map(str.split, words) if w and len(w) == _LENGTHS.get(w[0])]
    committed = {w[1]: w[2] for w in said if w[0] == "committed"}
    begun = [w[1] for w in said if w[0] == "begin"]
    steps = 0
    for w in said:
        steps = int(w[1]) if w[0] == "step" else 0
    under_way = begun[-1] if begun and begun[-1] not in committed and steps else None
    try:
        with Workspace.create(root, exclusive=True) as workspace:
            judge(workspace, committed, under_way, steps, campaign)
    except LoopwrightError as error:
        campaign.not_resumed.append(f"{type(error).__name__}: {error}")


def judge(
    workspace: Workspace,
    committed: dict[str, str],
    under_way: str | None,
    steps: int,
    campaign: Campaign,
) -> None:
    """Count what is there."""
    rows = {row.id: row for row in workspace.ledger.episodes(censored=True)}
    campaign.committed += len(committed)
    campaign.lost += sum(i not in rows or rows[i].digest != d for i, d in committed.items())
    campaign.quarantined += len(workspace.recovery.quarantined)
    reader = EpisodeReader(workspace)
    for identity in rows:
        try:
            reader.read(identity)
        except LoopwrightError:
            campaign.unreadable += 1
    if under_way is not None:
        campaign.in_flight += 1
        kept = [r.num_steps for i, r in rows.items() if i.partition("-")[0] == under_way]
        campaign.steps_lost[max(0, steps - max(kept, default=0))] += 1


def report(bench: Benchmark, title: str, campaign: Campaign) -> None:
    """Add the rows of one kind of kill."""
    worst = max(campaign.steps_lost, default=0)
    rows = (
        ("committed episodes lost", campaign.lost, campaign.committed, "<= 0"),
        ("episodes unreadable afterwards", campaign.unreadable, campaign.kills, "<= 0"),
        ("workspaces that did not open", len(campaign.not_resumed), campaign.kills, "<= 0"),
        ("most steps lost of an episode in flight", worst, campaign.in_flight, "<= 1"),
        ("recordings put in quarantine", campaign.quarantined, campaign.in_flight, ""),
    )
    for metric, value, n, target in rows:
        bench.add(
            Measurement(metric=f"{title}: {metric}", value=value, unit="count", n=n, target=target)
        )
    spread = ", ".join(f"{n} lost {k}" for k, n in sorted(campaign.steps_lost.items()))
    bench.note(f"{title}: {campaign.kills} SIGKILLs; of the episodes in flight {spread} steps")
    for error in campaign.not_resumed[:3]:
        bench.note(f"{title}: {error}")


def main() -> None:
    if sys.argv[1:2] == ["--record"]:
        record(Path(sys.argv[2]))
        return
    with Benchmark("recorder_faults", "Recorders that are killed", seeds=(SEED,)) as bench:
        draw = random.Random(SEED)
        at_random, at_points = Campaign(), Campaign()
        with tempfile.TemporaryDirectory(prefix="recorder-faults-") as folder:
            for number in bench.track(range(20 if bench.quick else 200), "random moments"):
                moment_s = draw.uniform(0.0, LONGEST_LIFE_S)
                strike(Path(folder) / f"m{number}", at_random, moment_s=moment_s, point=None)
            # A workspace is marked once; everything else comes again with every episode.
            points = [
                f"{point}:{visit}"
                for point in POINTS
                for visit in ((1,) if point.startswith("marker.") else (1, 2, 5))
            ]
            for number, point in enumerate(bench.track(points, "crash points")):
                strike(Path(folder) / f"p{number}", at_points, moment_s=None, point=point)
        report(bench, "random moment", at_random)
        report(bench, "crash point", at_points)


if __name__ == "__main__":
    main()
