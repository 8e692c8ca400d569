"""The loop: collect, verify, fit, evaluate, gate, promote, operate, again.

The data's way through one round::

    requests --collect--> episodes --snapshot--> fit --> challenger
                                                            |
    gate seeds --attempt--> champion's and challenger's verdicts --judge--> decision
                                                                              |
    sealed seeds --certify--> certificate, if the recipe asks for one --------+
                                                                              |
    train seeds --attempt--> champion's episodes (operate) <-- champion <-- promote | refuse
           |
           +--> where it fails --seek--> the next round's requests

Every choice is a pure function of receipts and records, so running the loop again after any
interruption takes the same way and finds finished stages finished.

The first champion, the *genesis*, holds no certificate: nothing is promoted when it is installed.
It is what later gates compare with, and it acts in simulation only. The champion of a run is what
the run has come to; what may move a robot is decided once more, by
:mod:`loopwright.loop.deployment`, which takes nothing without a certificate in force.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar, cast

from loopwright.core.digest import Json
from loopwright.core.episode import Outcome, SourceKind
from loopwright.core.errors import DamagedData, StageFailed
from loopwright.core.scenario import Box, Request, Scenario, Split, split_seed
from loopwright.core.seeds import derive_seed
from loopwright.core.stage import Receipt, Resources, StageResult
from loopwright.loop.certifying import Certifier
from loopwright.loop.config import LoopConfig, RoundPlan, foreign_code
from loopwright.loop.engine import Engine, Work, is_damage
from loopwright.loop.gate import FloorCheck, GateDecision, PairedTrial, floor_holds, judge
from loopwright.loop.records import (
    Certification,
    Ending,
    Filmed,
    RoundDecision,
    RoundRecord,
    StageName,
    Trials,
)
from loopwright.loop.seek import Attempt, seek_data
from loopwright.scenarios.registry import get_scenario, scenario_source_digest
from loopwright.store.ledger import Ledger
from loopwright.store.objects import DamagedObject
from loopwright.store.snapshots import Snapshot, save_snapshot

# Seeds are handed out in blocks, so that no two purposes of a loop ever share one.
_LOOP_BLOCK = 10_000_000
_ROUND_BLOCK = 10_000
_SEEK_BASE = 4_000_000
_OPERATE_BASE = 5_000_000

_ENDING = "ending"
"""Marks the records behind the rounds; a run has a new ending when its champion has changed."""
_NUM_FILMS = 3
_MOST_MENDED = 100
"""A disk on which more than that is damaged during one command has no business here."""

Part = TypeVar("Part")


@dataclass(kw_only=True, slots=True)
class _Pool:
    """Every episode that the loop may train on, by kind, in the order it came."""

    sources: dict[SourceKind, list[str]] = field(default_factory=dict)
    own_successes: list[str] = field(default_factory=list)
    video_tried: list[Box] = field(default_factory=list)

    def add(self, request: Request, episodes: Sequence[str]) -> None:
        self.sources.setdefault(request.kind, []).extend(episodes)
        if request.kind == "video" and request.box is not None:
            self.video_tried.append(request.box)

    def snapshot(self, *, own_successes: bool, split_seed: int) -> Snapshot:
        episodes = [e for ids in self.sources.values() for e in ids]
        if own_successes:
            episodes += self.own_successes
        rule = "everything collected so far"
        if own_successes:
            rule += ", and the champion's own successes"
        return Snapshot(
            episodes=tuple(dict.fromkeys(episodes)),
            label_filter=rule,
            split_seed=split_seed,
        )


class Loop:
    """One run of a loop in a workspace; :meth:`run` starts or resumes it."""

    def __init__(self, config: LoopConfig, engine: Engine) -> None:
        """Register the run; the same configuration and code in a workspace are the same run.

        Of code only what is not Loopwright's own counts here. Where that was edited, what an
        earlier run came to stays on record, and a run begins that owes nothing to it.

        Raises:
            InvalidConfig: Two requests of the configuration overlap.
        """
        config.refuse_overlaps()
        self.config = config
        self.engine = engine
        self.ledger = engine.workspace.ledger
        self.scenario: Scenario = get_scenario(config.scenario)
        self._source = scenario_source_digest(config.scenario)
        self._certifier = Certifier(config, engine) if config.certificate is not None else None
        code: dict[str, Json] = {"scenario": self._source} if self._source else {}
        for plan in config.plans:
            code |= foreign_code(plan.learner)
        self.run_id = self.ledger.begin_run(config.name, config.to_json(), code=code)
        self._stages: list[StageName] = []
        self._pool = _Pool()

    def run(self, *, stop_after: int | None = None) -> list[RoundRecord]:
        """Run every planned round that is not on record yet; return all records.

        What earlier rounds had made and is lost or damaged by now is made anew.

        Args:
            stop_after: Index of the last round to run now; all by default. Where a run stops is no
                part of what it is: the next call goes on from there.

        Raises:
            DamagedData: It cannot be.
            StageError: A stage failed.
        """
        planned = len(self.config.plans)
        until = planned if stop_after is None else min(stop_after + 1, planned)
        return self._mending(lambda records: self._go_on(records, until))

    def end(self) -> Ending | None:
        """Compare first and last champion on sealed seeds, and make what people look at.

        Using sealed seeds is counted. None if the configuration wants no sealed episodes, and as
        long as not every planned round is on record.

        Raises:
            DamagedData: Something is lost or damaged and cannot be made anew.
            StageError: A stage failed.
        """
        return self._mending(self._come_to_an_end)

    def _mending(self, part: Callable[[list[RoundRecord]], Part]) -> Part:
        """Do a part of the loop; if it comes upon damage, make the damaged thing anew.

        Who reads something damaged puts it away, so here only the stage that made it has to run
        again. A disk that damages the same thing once more is beyond mending.
        """
        seen: set[str] = set()
        while True:
            try:
                return part(self._recall_all())
            except (DamagedData, StageFailed) as error:
                if not is_damage(error) or str(error) in seen or len(seen) >= _MOST_MENDED:
                    raise
                seen.add(str(error))
                self.engine.display.say(f"{error} It is made anew.")

    def _recall_all(self) -> list[RoundRecord]:
        self._pool = _Pool()
        records = recorded_rounds(self.ledger, self.run_id)
        for record in records:
            self._recall(record)
            self._learn_from(record)
        return records

    def _go_on(self, records: list[RoundRecord], until: int) -> list[RoundRecord]:
        for index in range(len(records), until):
            self._stages = []
            record = self._turn(index, self.config.plans[index], records)
            self.ledger.record_round(self.run_id, index, record.to_json())
            records.append(record)
            self._learn_from(record)
        return records

    def _come_to_an_end(self, records: list[RoundRecord]) -> Ending | None:
        if not self.config.sealed_episodes or len(records) < len(self.config.plans):
            return None
        known = recorded_ending(self.ledger, self.run_id)
        first, last = records[0].champion_after, self.ledger.champion(self.run_id)
        assert last is not None
        if known is not None and known.last.candidate == last:
            self._restore(known)
            return known
        self._stages = []
        seeds = self._seeds("sealed", 0, self.config.sealed_episodes)
        self.ledger.use_seeds("sealed", self.scenario.id, seeds, purpose=f"{self.run_id}/{last}")
        trials = self._try_all({first: seeds, last: seeds}, "sealed seeds")
        ending = Ending(
            first=trials[first],
            last=trials[last],
            films=self._film(trials[first], trials[last]),
            foresight=self._inspect(last, trials[last].episodes[:_NUM_FILMS]).outputs.get(
                "foresight"
            ),
            stages=tuple(self._stages),
        )
        self._restore(ending)
        number = len(self.ledger.rounds(self.run_id))
        self.ledger.record_round(self.run_id, number, {_ENDING: ending.to_json()})
        return ending

    def _restore(self, ending: Ending) -> None:
        """Make anew what an ending shows and what it was made of, as far as it is lost."""
        for digest in ending.objects:
            self._is_whole(digest)  # what is not is put away, so that it counts as lost
        self.engine.restore(stage.key for stage in ending.stages)

    def _film(self, first: Trials, last: Trials) -> tuple[Filmed, ...]:
        """Film the first few sealed starts, whatever came of them."""
        episodes = [e for t in (first, last) for e in t.episodes[:_NUM_FILMS]]
        works = [
            Work(
                spec=self.engine.spec(
                    "film",
                    "loopwright.loop.stages:film",
                    params={
                        **self._scenario_params(),
                        "episode": episode,
                        "image_px": self.config.film_px,
                    },
                ),
                label=f"film {episode[:8]}",
            )
            for episode in dict.fromkeys(episodes)
        ]
        receipts = self._run_all(works)
        digest = {
            str(w.spec.params["episode"]): r.result.outputs["film"]
            for w, r in zip(works, receipts, strict=True)
        }
        return tuple(
            Filmed(
                seed=first.seeds[i],
                first=digest[first.episodes[i]],
                last=digest[last.episodes[i]],
                first_outcome=first.outcomes[i],
                last_outcome=last.outcomes[i],
            )
            for i in range(min(_NUM_FILMS, len(first.seeds)))
        )

    # -- one round ---------------------------------------------------------------------------

    def _turn(self, index: int, plan: RoundPlan, records: Sequence[RoundRecord]) -> RoundRecord:
        planned = [replace(r, first=r.first + self._offset()) for r in plan.requests]
        requests = (*planned, *self._sought(index, plan, records))
        added = self._collect(requests)
        snapshot = self._snapshot(own_successes=plan.own_successes)
        snapshot_digest = save_snapshot(self.engine.workspace, snapshot)
        champion = self._champion_before(index)
        challenger, fit = self._fit(index, plan, snapshot_digest, champion)
        if champion is None:
            verdict = _Judgement(decision="genesis", reason="the first champion")
        else:
            verdict = self._gate(index, champion, challenger, records)
            if self._certifier is not None and verdict.decision == "promote":
                verdict = self._certified(self._certifier, index, challenger, verdict)
        after = self._decide(index, champion, challenger, verdict)
        operated = self._operate(index, after)
        told = self._inspect(after, operated.episodes).facts
        return RoundRecord(
            index=index,
            label=plan.label,
            requests=requests,
            added=added,
            demonstrations=len(set(self._pool.sources.get("demo", ()))),
            snapshot=snapshot_digest,
            challenger=challenger,
            champion_before=champion,
            champion_after=after,
            decision=verdict.decision,
            reason=verdict.reason,
            gate=verdict.gate.to_json() if verdict.gate else None,
            floor=verdict.floor.to_json() if verdict.floor else None,
            gate_report=verdict.report,
            champion_trials=verdict.champion,
            challenger_trials=verdict.challenger,
            operated=operated,
            certification=verdict.certification,
            surprise=_numbers(told["surprise"]),
            agreement=_numbers(told["agreement"]),
            fit=fit,
            stages=tuple(self._stages),
        )

    def _recall(self, record: RoundRecord) -> None:
        """Put what a round on record had collected back into the pool; remake what was lost."""
        for request, episodes in zip(record.requests, record.added, strict=True):
            self._pool.add(request, episodes)
        if not self._is_whole(record.snapshot):
            own_successes = self.config.plans[record.index].own_successes
            snapshot = self._snapshot(own_successes=own_successes)
            if snapshot.digest == record.snapshot:  # an earlier version may have said it otherwise
                save_snapshot(self.engine.workspace, snapshot)
        if record.gate_report is not None and not self._is_whole(record.gate_report):
            report = self._gate_report(record.index, _judgement(record))
            self.engine.workspace.objects.put_json(report)
        self.engine.restore(stage.key for stage in record.stages)

    def _is_whole(self, digest: str) -> bool:
        """Tell whether an object is what it was; a damaged one is put away."""
        try:
            self.engine.workspace.objects.path(digest)
        except DamagedObject:
            return False
        return True

    def _learn_from(self, record: RoundRecord) -> None:
        """Take what the round's operation taught into the pool."""
        if record.decision == "promote":
            self._pool.video_tried.clear()  # a new champion fails elsewhere
        pairs = zip(record.operated.episodes, record.operated.outcomes, strict=True)
        self._pool.own_successes.extend(e for e, outcome in pairs if outcome == "success")

    def _sought(
        self, index: int, plan: RoundPlan, records: Sequence[RoundRecord]
    ) -> tuple[Request, ...]:
        if plan.seek is None or not records:
            return ()
        last = records[-1]
        operated = last.operated
        surprise = last.surprise or (0.0,) * len(operated.seeds)
        agreement = last.agreement or (1.0,) * len(operated.seeds)
        attempts = [
            Attempt(
                start=dict(self.scenario.start(seed)),
                failed=outcome == "failure",
                surprise=wrong,
                agreement=agreed,
            )
            for seed, outcome, wrong, agreed in zip(
                operated.seeds, operated.outcomes, surprise, agreement, strict=True
            )
        ]
        return seek_data(
            attempts,
            self.scenario.domain,
            plan.seek,
            video_tried=self._pool.video_tried,
            first=self._offset() + _SEEK_BASE + index * _ROUND_BLOCK,
        )

    def _snapshot(self, *, own_successes: bool) -> Snapshot:
        return self._pool.snapshot(own_successes=own_successes, split_seed=self.config.seed)

    # -- collect -----------------------------------------------------------------------------

    def _collect(self, requests: Sequence[Request]) -> tuple[tuple[str, ...], ...]:
        receipts = self._run_all([self._collect_work(r) for r in requests])
        added = tuple(tuple(_texts(receipt, "episodes")) for receipt in receipts)
        for request, episodes in zip(requests, added, strict=True):
            self._pool.add(request, episodes)
        return added

    def _collect_work(self, request: Request) -> Work:
        spec = self.engine.spec(
            "collect",
            "loopwright.loop.stages:collect",
            params={**self._scenario_params(), "request": asdict(request)},
        )
        return Work(spec=spec, label=f"record {request.count} {request.kind} ({request.body})")

    # -- fit ---------------------------------------------------------------------------------

    def _fit(
        self, index: int, plan: RoundPlan, snapshot: str, parent: str | None
    ) -> tuple[str, Mapping[str, Json]]:
        foreign = foreign_code(plan.learner)
        spec = self.engine.spec(
            "fit",
            "loopwright.loop.stages:fit",
            params={
                "learner": asdict(plan.learner),
                "parent": parent,
                # Loopwright's own code is part of every key already.
                **({"learner_code": foreign} if foreign else {}),
            },
            inputs={"snapshot": snapshot},
            seed=derive_seed(self.config.seed, "fit", index),
            resources=Resources(memory_gb=3.0),
        )
        result = self._run_all([Work(spec=spec, label=f"train: {plan.label}")])[0].result
        return result.outputs["candidate"], result.facts

    # -- gate --------------------------------------------------------------------------------

    def _gate(
        self, index: int, champion: str, challenger: str, records: Sequence[RoundRecord]
    ) -> _Judgement:
        gate = self.config.gate
        seeds = self._gate_seeds(index)
        earned = list(itertools.takewhile(lambda r: r.decision == "promote", reversed(records)))
        met: dict[str, Trials] = {}
        decision = judge(gate, index, [])
        for begin in range(0, gate.max_pairs, gate.batch):
            batch = seeds[begin : begin + gate.batch]
            purpose = gate_purpose(self.run_id, index)
            self.ledger.use_seeds("gate", self.scenario.id, batch, purpose=purpose)
            fresh = self._try_all({champion: batch, challenger: batch}, "gate")
            met = {c: met[c].then(fresh[c]) if c in met else fresh[c] for c in fresh}
            decision = judge(
                gate,
                index,
                _paired(met[champion], met[challenger]),
                promotions_before=len(earned),
                planned_seeds=seeds,
            )
            self.engine.display.say(f"gate, {begin + len(batch)} pairs: {decision.reason}")
            if decision.decision != "continue":
                break
        return self._judged(index, decision, met, champion, challenger, records[0].champion_after)

    def _judged(
        self,
        index: int,
        decision: GateDecision,
        met: Mapping[str, Trials],
        champion: str,
        challenger: str,
        first: str,
    ) -> _Judgement:
        outcome: RoundDecision = "promote" if decision.decision == "promote" else "refuse"
        reason = decision.reason
        if decision.decision == "blocked":
            outcome = "blocked"
        floor = None
        if outcome == "promote" and champion != first:
            genesis = self._try_all({first: met[challenger].seeds}, "floor")[first]
            floor = floor_holds(_paired(genesis, met[challenger]))
            if not floor.holds:
                outcome, reason = "refuse", floor.reason
        judgement = _Judgement(
            decision=outcome,
            reason=reason,
            gate=decision,
            floor=floor,
            champion=met[champion],
            challenger=met[challenger],
        )
        report = self._gate_report(index, judgement)
        return replace(judgement, report=self.engine.workspace.objects.put_json(report))

    # -- certify -----------------------------------------------------------------------------

    def _certified(
        self, certifier: Certifier, index: int, challenger: str, verdict: _Judgement
    ) -> _Judgement:
        """Turn the gate's yes into a no unless the challenger holds its certificate."""
        found = certifier.certify(
            challenger,
            round_name=self._name(index),
            scenario_params=self._scenario_params(),
            run_all=self._run_all,
        )
        made = {d.id: d for d in self.ledger.decisions(self.run_id)}
        if (decided := made.get(self._name(index))) is not None:
            # An earlier try of this round decided and then died. That stands, even if the
            # certificate has ended since.
            holds = decided.kind == "promotion"
            found = replace(found, holds=holds, reason=found.reason if holds else decided.reason)
        self.engine.display.say(f"certificate of level {found.level}: {found.reason}")
        if not found.holds:
            return replace(verdict, decision="refuse", reason=found.reason, certification=found)
        return replace(verdict, certification=found)

    def _gate_report(self, index: int, judged: _Judgement) -> dict[str, Json]:
        assert judged.gate is not None
        assert judged.champion is not None
        assert judged.challenger is not None
        return {
            "run": self.run_id,
            "round": index,
            "config": asdict(self.config.gate),
            "champion": asdict(judged.champion),
            "challenger": asdict(judged.challenger),
            "decision": judged.gate.to_json(),
            "floor": judged.floor.to_json() if judged.floor else None,
            "outcome": judged.decision,
        }

    # -- promote and operate -----------------------------------------------------------------

    def _champion_before(self, index: int) -> str | None:
        """Return whom this round's challenger meets.

        If an earlier try of this round promoted its challenger and then died, the alias has
        already moved; the champion it met is then in the promotion.
        """
        made = {p.id: p for p in self.ledger.promotions(self.run_id)}
        mine = made.get(self._name(index))
        return mine.champion_before if mine else self.ledger.champion(self.run_id)

    def _decide(
        self, index: int, champion: str | None, challenger: str, verdict: _Judgement
    ) -> str:
        if verdict.decision in ("genesis", "promote"):
            self.ledger.promote(
                alias=self.run_id,
                candidate=challenger,
                expected=champion,
                decision_id=self._name(index),
                gate_report=verdict.report,
                kind="genesis" if champion is None else "promotion",
                reason=verdict.reason,
            )
            return challenger
        assert champion is not None
        self.ledger.refuse(
            alias=self.run_id,
            candidate=challenger,
            expected=champion,
            decision_id=self._name(index),
            gate_report=verdict.report,
            reason=verdict.reason,
        )
        return champion

    def _operate(self, index: int, champion: str) -> Trials:
        first = self._offset() + _OPERATE_BASE + index * _ROUND_BLOCK
        count = self.config.operate_episodes
        seeds = [split_seed("train", first + i) for i in range(count)]
        return self._try_all({champion: seeds}, "operate")[champion]

    def _inspect(self, candidate: str, episodes: Sequence[str]) -> StageResult:
        spec = self.engine.spec(
            "inspect",
            "loopwright.loop.stages:inspect",
            params={"episodes": list(episodes)},
            inputs={"candidate": candidate},
        )
        return self._run_all([Work(spec=spec, label="what did it foresee?")])[0].result

    # -- shared ------------------------------------------------------------------------------

    def _try_all(self, arms: Mapping[str, Sequence[int]], purpose: str) -> dict[str, Trials]:
        """Let each candidate try its seeds; a lone candidate's seeds are split over two stages."""
        parts = [(c, s) for c, seeds in arms.items() for s in _parts(seeds, 3 - len(arms))]
        works = [
            Work(
                spec=self.engine.spec(
                    "attempt",
                    "loopwright.loop.stages:run_attempts",
                    params={**self._scenario_params(), "seeds": list(seeds)},
                    inputs={"candidate": candidate},
                ),
                label=f"{purpose}: {candidate[:8]} tries {len(seeds)} starts",
            )
            for candidate, seeds in parts
        ]
        trials: dict[str, Trials] = {}
        for (candidate, seeds), receipt in zip(parts, self._run_all(works), strict=True):
            part = Trials(
                candidate=candidate,
                seeds=tuple(seeds),
                outcomes=cast("tuple[Outcome, ...]", tuple(_texts(receipt, "outcomes"))),
                episodes=tuple(_texts(receipt, "episodes")),
            )
            trials[candidate] = trials[candidate].then(part) if candidate in trials else part
        return trials

    def _run_all(self, works: Sequence[Work]) -> list[Receipt]:
        self._stages += [StageName(name=w.spec.name, key=w.spec.key) for w in works]
        return self.engine.run_all(works)

    def _scenario_params(self) -> dict[str, Json]:
        return {"scenario": self.config.scenario, "scenario_source": self._source}

    def _offset(self) -> int:
        return self.config.seed * _LOOP_BLOCK

    def _seeds(self, split: Split, block: int, count: int) -> list[int]:
        first = self._offset() + block * _ROUND_BLOCK
        return [split_seed(split, first + i) for i in range(count)]

    def _gate_seeds(self, index: int) -> list[int]:
        """Return the seeds of a round's gate: the first of its block that nobody has used here.

        In a workspace that is new these are the first of the block. What this gate itself has used
        stays in, and as others never take that it stays in front: after an interruption the gate
        goes on with the order in which it began.
        """
        mine = gate_purpose(self.run_id, index)
        used = self.ledger.seed_purposes("gate", self.scenario.id)
        first = self._offset() + index * _ROUND_BLOCK
        block = (split_seed("gate", number) for number in itertools.count(first))
        fresh = (seed for seed in block if seed not in used or mine in used[seed])
        return list(itertools.islice(fresh, self.config.gate.max_pairs))

    def _name(self, index: int) -> str:
        return f"{self.run_id}/round-{index}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judgement:
    decision: RoundDecision
    reason: str
    gate: GateDecision | None = None
    floor: FloorCheck | None = None
    report: str | None = None
    champion: Trials | None = None
    challenger: Trials | None = None
    certification: Certification | None = None


def _judgement(record: RoundRecord) -> _Judgement:
    """Return what a gate had concluded, from the record of its round.

    A certificate is asked for only when the gate said yes, whatever was decided then.
    """
    gate = GateDecision.from_json(cast("dict[str, Any]", record.gate))
    floor = FloorCheck.from_json(cast("dict[str, Any]", record.floor)) if record.floor else None
    return _Judgement(
        decision="promote" if record.certification else record.decision,
        reason=record.reason,
        gate=gate,
        floor=floor,
        report=record.gate_report,
        champion=record.champion_trials,
        challenger=record.challenger_trials,
    )


def gate_purpose(run_id: str, index: int) -> str:
    """Return what the seeds of a round's gate are counted as used for."""
    return f"{run_id}/round-{index}"


def recorded_rounds(ledger: Ledger, run_id: str) -> list[RoundRecord]:
    """Return what the finished rounds of a run left on record, in order."""
    records = [row.record for row in ledger.rounds(run_id)]
    return [RoundRecord.from_json(record) for record in records if _ENDING not in record]


def recorded_ending(ledger: Ledger, run_id: str) -> Ending | None:
    """Return the newest ending of a run, if it has come to one."""
    records = [row.record for row in ledger.rounds(run_id)]
    endings = [record[_ENDING] for record in records if _ENDING in record]
    return Ending.from_json(endings[-1]) if endings else None


def _paired(champion: Trials, challenger: Trials) -> list[PairedTrial]:
    assert champion.seeds == challenger.seeds
    return [
        PairedTrial(seed=seed, champion=old, challenger=new)
        for seed, old, new in zip(
            champion.seeds, champion.outcomes, challenger.outcomes, strict=True
        )
    ]


def _parts(seeds: Sequence[int], count: int) -> list[Sequence[int]]:
    size = -(-len(seeds) // count)
    return [seeds[i : i + size] for i in range(0, len(seeds), size)]


def _texts(receipt: Receipt, fact: str) -> list[str]:
    values = receipt.result.facts[fact]
    assert isinstance(values, (list, tuple))
    return [str(v) for v in values]


def _numbers(told: Json) -> tuple[float, ...]:
    """Return what a candidate told of each episode; nothing if it cannot tell."""
    return tuple(cast("Sequence[float]", told or ()))
