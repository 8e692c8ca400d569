"""Kill -9 at random moments: does the loop always come to the same end?

A small real loop (every kind of stage, real child processes, real files) is run once undisturbed.
Then it is run again and again in fresh workspaces; at random moments the command, a stage's
process or both get SIGKILL, and the command is started again, until it finishes. Its final state
must equal the undisturbed one: records, decisions, candidates, episodes, digest by digest.

Beside it: what a stage costs on top of its work, and how fast a finished loop is replayed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import Benchmark, Measurement, cpu_seconds
from loopwright.compute.execute import InProcessExecutor
from loopwright.compute.process import ProcessExecutor
from loopwright.core.digest import digest_json
from loopwright.core.stage import Executor
from loopwright.loop.engine import Engine, Work
from loopwright.store.episodes import read_episode
from loopwright.store.workspace import Workspace

COMMAND = str(Path(sys.executable).parent / "loopwright")
RECIPE = "benchmarks/fault_recipe.py"
SEED = 20261122
VICTIMS = ("command", "stage", "both")
LONGEST_LIFE_S = 4.0
"""A command lives at most so long before it is killed: long enough for a few stages."""
MERCY = 1.1
"""How much longer the next one may live: on a busy machine no stage might ever end otherwise."""


@dataclass
class Campaign:
    """What happened in all disturbed loops."""

    kills: Counter[str] = field(default_factory=Counter)
    loops: int = 0
    different_ends: int = 0
    lost_episodes: int = 0
    unreadable_episodes: int = 0
    promotions_beside_decisions: int = 0
    errors: list[str] = field(default_factory=list)


def main() -> None:
    with Benchmark("loop_faults", "Killed loops come to the same end", seeds=(SEED,)) as bench:
        wanted = 20 if bench.quick else 200
        with tempfile.TemporaryDirectory(prefix="loop-faults-") as folder:
            root = Path(folder)
            bench.say("running the loop undisturbed")
            run_to_end(root / "whole")
            undisturbed = final_state(root / "whole")
            campaign = Campaign()
            dice = random.Random(SEED)
            while campaign.kills.total() < wanted:
                disturbed_loop(root / "hurt", campaign, dice, undisturbed)
                bench.say(f"{campaign.kills.total()} kills in {campaign.loops} loops")
                shutil.rmtree(root / "hurt")
            report(bench, campaign)
            overheads(bench, root)


def start(workspace: Path) -> subprocess.Popen[bytes]:
    """Start the command on a workspace."""
    return subprocess.Popen(
        [COMMAND, "run", RECIPE, "--workspace", str(workspace)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def run_to_end(workspace: Path) -> None:
    """Run the command until it ends by itself.

    Raises:
        RuntimeError: It failed although nobody disturbed it.
    """
    command = start(workspace)
    _, said = command.communicate()
    if command.returncode:
        raise RuntimeError(f"the loop failed undisturbed: {said.decode()[-2000:]}")


def disturbed_loop(
    workspace: Path, campaign: Campaign, dice: random.Random, undisturbed: dict[str, object]
) -> None:
    """Kill and restart one loop until it finishes; compare its end with the undisturbed one."""
    campaign.loops += 1
    committed: set[str] = set()
    longest_life_s = LONGEST_LIFE_S
    while True:
        command = start(workspace)
        victim = dice.choice(VICTIMS)
        struck = strike_at(command, time.monotonic() + dice.uniform(0.0, longest_life_s), victim)
        longest_life_s *= MERCY
        _, said = command.communicate()
        if struck:
            campaign.kills[victim] += 1
        committed = no_episode_is_gone(workspace, committed, campaign)
        if command.returncode == 0:
            break
        if not struck:
            campaign.errors.append(said.decode()[-500:])
            break
    state = final_state(workspace)
    campaign.different_ends += state != undisturbed
    campaign.promotions_beside_decisions += state["decisions"] != undisturbed["decisions"]
    campaign.unreadable_episodes += unreadable(workspace)


def strike_at(command: subprocess.Popen[bytes], moment_s: float, victim: str) -> bool:
    """Wait for the moment, then kill; return False if the command had ended or had no stage."""
    while time.monotonic() < moment_s:
        if command.poll() is not None:
            return False
        time.sleep(0.005)
    stages = children(command.pid)
    struck = False
    if victim in ("stage", "both"):
        for stage in stages:
            struck |= kill(stage)
    if victim in ("command", "both") or not stages:
        struck |= command.poll() is None and kill(command.pid)
    return struck


def kill(pid: int) -> bool:
    """Send SIGKILL; return whether there was anybody to get it."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def children(parent: int) -> list[int]:
    """Return the process ids of the children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def no_episode_is_gone(workspace: Path, committed: set[str], campaign: Campaign) -> set[str]:
    """Return the committed episodes now; count those that were there and are not."""
    folder = workspace / "episodes"
    now = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    campaign.lost_episodes += len(committed - now)
    return now


def final_state(workspace: Path) -> dict[str, object]:
    """Return everything that must not depend on what happened on the way."""
    with Workspace.open(workspace) as place:
        ledger = place.ledger
        run = ledger.runs()[0].id
        return {
            "records": digest_json([row.record for row in ledger.rounds(run)]),
            "decisions": [
                (d.id, d.kind, d.candidate, d.champion_before, d.gate_report)
                for d in ledger.decisions(run)
            ],
            "champion": ledger.champion(run),
            "episodes": sorted((e.id, e.digest) for e in ledger.episodes()),
        }


def unreadable(workspace: Path) -> int:
    """Read every committed episode, digests checked; return how many cannot be read."""
    with Workspace.open(workspace) as place:
        bad = 0
        for row in place.ledger.episodes():
            try:
                read_episode(place, row.id)
            except Exception:  # noqa: BLE001 - whatever it is, the episode is lost to its user
                bad += 1
        return bad


def report(bench: Benchmark, campaign: Campaign) -> None:
    """Add what the campaign showed."""
    kills = campaign.kills.total()
    by_victim = ", ".join(f"{n} {victim}" for victim, n in sorted(campaign.kills.items()))
    rows = (
        ("loops that ended differently", campaign.different_ends, campaign.loops),
        (
            "loops whose promotions differ from the decisions",
            campaign.promotions_beside_decisions,
            campaign.loops,
        ),
        ("loops that did not resume", len(campaign.errors), campaign.loops),
        ("committed episodes lost", campaign.lost_episodes, kills),
        ("committed episodes unreadable at the end", campaign.unreadable_episodes, kills),
    )
    for metric, value, n in rows:
        bench.add(
            Measurement(
                metric=metric,
                value=value,
                unit="count",
                n=n,
                compared_with="undisturbed loop in the same run",
                target="<= 0",
            )
        )
    bench.note(f"{kills} SIGKILLs at random moments ({by_victim}) in {campaign.loops} loops.")
    for error in campaign.errors[:3]:
        bench.note(f"Did not resume: {error}")


def overheads(bench: Benchmark, root: Path) -> None:
    """Measure what a stage costs on top of its work, in CPU-seconds."""
    count = 20 if bench.quick else 100
    cases: tuple[tuple[str, Executor, int, str], ...] = (
        ("overhead of a stage in process", InProcessExecutor(), 5 * count, "< 3"),
        ("overhead of a stage as a child", ProcessExecutor(), count, "< 120"),
    )
    for metric, executor, repeats, target in cases:
        with Workspace.create(root / metric.split()[-1], exclusive=True) as place:
            engine = Engine(place, executor, parallel=1)
            works = no_ops(engine, repeats)
            began_s = cpu_seconds()
            for work in works:
                engine.run_all([work])
            spent_ms = (cpu_seconds() - began_s) * 1000
        bench.add(
            Measurement(
                metric=metric, value=spent_ms / repeats, unit="ms CPU", n=repeats, target=target
            )
        )
    with Workspace.create(root / "replay", exclusive=True) as place:
        engine = Engine(place, InProcessExecutor(), parallel=1)
        works = no_ops(engine, 1000)
        engine.run_all(works)
        began_s = cpu_seconds()
        engine.run_all(works)
        spent_ms = (cpu_seconds() - began_s) * 1000
    bench.add(
        Measurement(
            metric="replay of 1,000 finished stages", value=spent_ms, unit="ms CPU", target="< 100"
        )
    )


def no_ops(engine: Engine, count: int) -> list[Work]:
    """Return so many different stages that do nothing."""
    return [
        Work(spec=engine.spec("noop", "benchmarks.noop:noop", seed=i), label="noop")
        for i in range(count)
    ]


if __name__ == "__main__":
    main()
