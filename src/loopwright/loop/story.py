"""A run as a report: everything a page shows, read from the ledger and the objects."""

from __future__ import annotations

import itertools
import os
import platform
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from loopwright.core.episode import Outcome
from loopwright.core.scenario import ManyTasks, Scenario
from loopwright.core.statistics import clopper_pearson
from loopwright.loop.certificate_story import certificate_report
from loopwright.loop.certifying import waiting
from loopwright.loop.config import LoopConfig, RoundPlan
from loopwright.loop.gate import GateDecision, Rate
from loopwright.loop.records import Ending, RoundRecord, StageName, Trials
from loopwright.loop.rounds import gate_purpose, recorded_ending, recorded_rounds
from loopwright.loop.stages import foresight_from_bytes
from loopwright.report.pictures import DomainMap, Film, FilmPair, Imagination, StartPoint
from loopwright.report.rounds import (
    Check,
    Curve,
    GateReport,
    RoundReport,
    SeedRange,
    SuccessRate,
)
from loopwright.report.run import Budget, LineageNode, RunReport, SealedResult
from loopwright.scenarios.registry import get_scenario
from loopwright.store.ledger import RunRow
from loopwright.store.workspace import Workspace

_SHOWN_PACKAGES = ("loopwright", "numpy", "torch", "mujoco", "metaworld")


def tell(workspace: Workspace, run: RunRow, *, command: str = "") -> RunReport:
    """Return the report of a run, finished or not.

    Args:
        workspace: Where it ran.
        run: The run.
        command: What to type to repeat it.
    """
    config = LoopConfig.from_json(run.config)
    scenario = get_scenario(config.scenario)
    records = recorded_rounds(workspace.ledger, run.id)
    ending = recorded_ending(workspace.ledger, run.id)
    return RunReport(
        title=f"Run {run.id}",
        scenario=scenario.id,
        instruction=scenario.instruction,
        recipe=run.recipe,
        seed=config.seed,
        rounds=tuple(_rounds(workspace, run, scenario, config, records)),
        command=command,
        machine=machine(),
        started_utc=_utc(run.began_at),
        finished_utc=_finished(workspace, run) if ending else "",
        budget=Budget(rounds=len(config.plans), alpha=config.gate.alpha),
        films=tuple(_films(workspace, scenario, ending)),
        imaginations=tuple(_imaginations(workspace, ending, scenario)),
        domain_map=_map(scenario, config, ending),
        lineage=tuple(_lineage(records)),
        sealed=tuple(_sealed(workspace, scenario, ending)),
        certificate_level=config.certificate.level if config.certificate else "",
        waits_for=_waits_for(workspace, run, config),
        notes=tuple(_notes(config, records)),
    )


def machine() -> dict[str, str]:
    """Return the hardware and versions that figures were measured with."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
    }
    for package in _SHOWN_PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _round(
    workspace: Workspace, run: RunRow, scenario: Scenario, record: RoundRecord, plan: RoundPlan
) -> RoundReport:
    added: dict[str, int] = {}
    for request, episodes in zip(record.requests, record.added, strict=True):
        added[request.kind] = added.get(request.kind, 0) + len(episodes)
    gate = GateDecision.from_json(cast("dict[str, Any]", record.gate)) if record.gate else None
    return RoundReport(
        index=record.index,
        label=record.label,
        decision=record.decision,
        reason=record.reason,
        challenger=record.challenger,
        champion_before=record.champion_before,
        champion_after=record.champion_after,
        planted=plan.planted,
        added=added,
        labelled_demos=record.demonstrations,
        gate=_gate(gate, record, used_before=_used_before(workspace, run, scenario, record))
        if gate
        else None,
        success=rate(record.operated) if gate is None else None,
        curves=tuple(_curves(record.fit)),
        cost_cpu_s=_costs(workspace, record.stages),
        seeds=tuple(_seeds(record)),
        certificate=certificate_report(workspace, record),
    )


def _waits_for(workspace: Workspace, run: RunRow, config: LoopConfig) -> str:
    file = waiting(workspace, run.id)
    if file is None or config.certificate is None:
        return ""
    return (
        f"level {config.certificate.level} is shown; it waits for another person to approve "
        f"{file.relative_to(workspace.root)}"
    )


def _rounds(
    workspace: Workspace,
    run: RunRow,
    scenario: Scenario,
    config: LoopConfig,
    records: Sequence[RoundRecord],
) -> Iterator[RoundReport]:
    """Yield the rounds, and each rollback where it happened; rollbacks are numbered after them."""
    ahead = deque(records)
    labels = 0
    number = itertools.count(len(records))
    for move in workspace.ledger.decisions(run.id):
        if move.kind == "rollback":
            yield RoundReport(
                index=next(number),
                label="rollback",
                decision="rollback",
                reason=move.reason,
                champion_before=move.champion_before,
                champion_after=move.candidate,
                labelled_demos=labels,
            )
        elif ahead:  # a round decides before it is over and on record
            record = ahead.popleft()
            labels = record.demonstrations
            yield _round(workspace, run, scenario, record, config.plans[record.index])


def _used_before(
    workspace: Workspace, run: RunRow, scenario: Scenario, record: RoundRecord
) -> int | None:
    """Return how many starts of a round's gate had been used for something else before."""
    if record.challenger_trials is None:
        return None
    mine = gate_purpose(run.id, record.index)
    uses = workspace.ledger.seed_purposes("gate", scenario.id)
    return sum(uses.get(seed, (mine,))[0] != mine for seed in record.challenger_trials.seeds)


def _gate(gate: GateDecision, record: RoundRecord, *, used_before: int | None) -> GateReport:
    checks = ()
    if record.floor is not None:
        checks = (
            Check(
                name="not below the first champion",
                held=bool(record.floor["holds"]),
                detail=str(record.floor["reason"]),
            ),
        )
    tally = gate.tally
    return GateReport(
        wins=tally.wins,
        losses=tally.losses,
        ties=tally.ties,
        missing=tally.missing,
        evidence=gate.e_path[1:],
        threshold=gate.threshold,
        alpha=gate.alpha,
        max_pairs=gate.config.max_pairs,
        used_before=used_before,
        champion=_gate_rate(gate.champion),
        challenger=_gate_rate(gate.challenger),
        checks=checks,
    )


def rate(trials: Trials | None) -> SuccessRate | None:
    """Return the share of successes with its exact 95 % interval; None without a verdict.

    For a number of trials that was fixed. Where a gate stopped when it had seen enough, only the
    interval in its decision holds.
    """
    if trials is None or not trials.decided:
        return None
    low, high = clopper_pearson(trials.successes, trials.decided)
    return SuccessRate(successes=trials.successes, trials=trials.decided, low=low, high=high)


def _gate_rate(counted: Rate) -> SuccessRate | None:
    if not counted.trials:
        return None
    return SuccessRate(
        successes=counted.successes,
        trials=counted.trials,
        low=counted.low,
        high=counted.high,
        confidence=counted.confidence,
    )


def _curves(fit: Mapping[str, Any]) -> Iterator[Curve]:
    """Yield the learning curves among a learner's facts: name to ``[[step, value], ...]``."""
    for name, points in dict(fit.get("curves") or {}).items():
        yield Curve(
            name=name,
            steps=tuple(int(step) for step, _ in points),
            values=tuple(float(value) for _, value in points),
        )


def _costs(workspace: Workspace, stages: Sequence[StageName]) -> dict[str, float]:
    """Return CPU-seconds by stage name; a stage that occurs twice was run once."""
    names = {s.key: s.name for s in stages}
    costs: dict[str, float] = {}
    for key, receipt in workspace.ledger.receipts(names).items():
        costs[names[key]] = costs.get(names[key], 0.0) + receipt.cost.cpu_s
    return costs


def _seeds(record: RoundRecord) -> Iterator[SeedRange]:
    if record.challenger_trials is not None:
        for first, count in _stretches(record.challenger_trials.seeds):
            yield SeedRange(split="gate", first=first, count=count, purpose="gate")
    operated = record.operated.seeds
    yield SeedRange(split="train", first=operated[0], count=len(operated), purpose="operate")


def _stretches(seeds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield first and length of every stretch of consecutive seeds."""
    begin = 0
    for place in range(1, len(seeds) + 1):
        if place == len(seeds) or seeds[place] != seeds[place - 1] + 1:
            yield seeds[begin], place - begin
            begin = place


def _films(workspace: Workspace, scenario: Scenario, ending: Ending | None) -> Iterator[FilmPair]:
    if ending is None:
        return
    made = zip(ending.films, ending.first.episodes, ending.last.episodes, strict=False)
    for filmed, first, last in made:
        asked = scenario.instruction_at(filmed.seed) if isinstance(scenario, ManyTasks) else ""
        yield FilmPair(
            seed=filmed.seed,
            caption=asked,
            before=Film(
                mp4=workspace.objects.read_bytes(filmed.first),
                label="first champion",
                outcome=filmed.first_outcome,
                caption=_reason(workspace, first, filmed.first_outcome),
            ),
            after=Film(
                mp4=workspace.objects.read_bytes(filmed.last),
                label="last champion",
                outcome=filmed.last_outcome,
                caption=_reason(workspace, last, filmed.last_outcome),
            ),
        )


def _reason(workspace: Workspace, episode: str, outcome: Outcome) -> str:
    """Return why an attempt was judged so; nothing if another verdict counts by now."""
    verdict = workspace.ledger.standing_verdicts([episode]).get(episode)
    return verdict.reason if verdict and verdict.outcome == outcome else ""


def _imaginations(
    workspace: Workspace, ending: Ending | None, scenario: Scenario
) -> Iterator[Imagination]:
    if ending is None or ending.foresight is None:
        return
    foresight = foresight_from_bytes(workspace.objects.read_bytes(ending.foresight))
    ahead_s = foresight.horizon_steps / scenario.interface.rate_hz
    yield Imagination(
        real=foresight.real,
        imagined=foresight.imagined,
        caption=f"What the last champion expected to see {ahead_s:.2f} s later, and what came.",
    )


def _map(scenario: Scenario, config: LoopConfig, ending: Ending | None) -> DomainMap | None:
    names = [n for n in scenario.domain.low if scenario.domain.low[n] < scenario.domain.high[n]]
    if ending is None or len(names) < 2:
        return None
    x_name, y_name = names[:2]
    starts = [scenario.start(seed) for seed in ending.first.seeds]
    points = tuple(
        StartPoint(x=start[x_name], y=start[y_name], before=before, after=after)
        for start, before, after in zip(
            starts, ending.first.outcomes, ending.last.outcomes, strict=True
        )
    )
    return DomainMap(
        x_name=x_name.removesuffix("_m"),
        y_name=y_name.removesuffix("_m"),
        unit="m" if x_name.endswith("_m") else "",
        points=points,
        covered=_covered(config, x_name, y_name),
    )


def _covered(
    config: LoopConfig, x_name: str, y_name: str
) -> tuple[float, float, float, float] | None:
    for request in config.genesis.requests:
        box = request.box
        if request.kind == "demo" and box is not None and {x_name, y_name} <= set(box.low):
            return (box.low[x_name], box.high[x_name], box.low[y_name], box.high[y_name])
    return None


def _lineage(records: Sequence[RoundRecord]) -> Iterator[LineageNode]:
    told: set[str] = set()
    for record in records:
        parent = (record.champion_before,) if record.champion_before else ()
        if record.snapshot not in told:
            told.add(record.snapshot)
            yield LineageNode(
                kind="snapshot",
                digest=record.snapshot,
                label=f"data of round {record.index}",
                round=record.index,
            )
        if record.challenger not in told:
            told.add(record.challenger)
            kind = "champion" if record.champion_after == record.challenger else "candidate"
            yield LineageNode(
                kind=kind,
                digest=record.challenger,
                label=record.label,
                round=record.index,
                parents=(record.snapshot, *parent),
            )


def _sealed(
    workspace: Workspace, scenario: Scenario, ending: Ending | None
) -> Iterator[SealedResult]:
    if ending is None:
        return
    uses = workspace.ledger.seed_uses("sealed", scenario.id)
    for label, trials in (("first champion", ending.first), ("last champion", ending.last)):
        success = rate(trials)
        if success is not None:
            yield SealedResult(
                label=label,
                candidate=trials.candidate,
                success=success,
                uses=max(uses.get(seed, 0) for seed in trials.seeds),
            )


def _notes(config: LoopConfig, records: Sequence[RoundRecord]) -> Iterator[str]:
    yield (
        f"One loop, seed {config.seed}. Where the number of starts was fixed, intervals are exact "
        "(Clopper-Pearson, 95 %). A gate chooses when to stop, so its intervals are those of a "
        "confidence sequence (95 % at all times at once), which are wider. Both cover the choice "
        "of starts only, not the draw of demonstrations or of network initialisation."
    )
    if config.certificate is None:
        yield "This recipe asks for no certificate, so nothing that it makes can be deployed."
    if any("play" in {q.kind for q in r.requests} for r in records):
        yield (
            "Play is recorded with actions: it costs robot time, but nobody who knows the task. "
            "It is not counted as a labelled demonstration."
        )
    if any(config.plans[r.index].planted for r in records):
        yield "One challenger was made worthless on purpose, to show that the gate refuses it."


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")


def _finished(workspace: Workspace, run: RunRow) -> str:
    rows = workspace.ledger.rounds(run.id)
    return _utc(rows[-1].recorded_at)
