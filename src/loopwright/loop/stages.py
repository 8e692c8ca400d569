"""The stages of a round. Each is pure: what it returns depends on its spec alone.

======== ================================= =============================== =====================
stage    inputs                            outputs                         facts
======== ================================= =============================== =====================
collect  --                                --                              episode ids
fit      snapshot                          candidate                       what the learner says
attempt  candidate                         --                              ids, outcomes, scores
inspect  candidate                         foresight (maybe)               surprise, agreement
film     --                                film                            --
======== ================================= =============================== =====================

Episodes and verdicts are facts of their own: they go into the store as they happen, under ids
that name their cause, so a stage that is run again finds what an earlier try had committed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.core.canvas import is_canvas
from loopwright.core.digest import Json
from loopwright.core.episode import Episode, EpisodeHeader, Verdict
from loopwright.core.errors import ContractError, InvalidConfig
from loopwright.core.learner import FitJob, LearnFunction
from loopwright.core.policy import ForeseeingPolicy, Foresight, MotionReadingPolicy, Policy
from loopwright.core.scenario import Scenario, split_of
from loopwright.core.source import find_entry
from loopwright.core.stage import Site, StageResult, StageSpec
from loopwright.loop.config import Learner, build_corpora, request_from_json
from loopwright.models.registry import load_policy
from loopwright.report.film import encode_film
from loopwright.scenarios.registry import get_scenario, scenario_source_digest
from loopwright.scenarios.sources import attempt, header_of_attempt, record_sources
from loopwright.store.episodes import (
    DamagedEpisode,
    EpisodeReader,
    cause_of,
    is_cut_short,
    quarantine_episode,
    write_episode,
)
from loopwright.store.snapshots import load_snapshot
from loopwright.store.workspace import Workspace

_IMAGINE_EVERY = 8
"""Steps between the moments that a page shows."""
_LINGER_S = 2.0
"""How long a film shows a painting that is finished: the end is what it is about."""


def collect(spec: StageSpec, site: Site) -> StageResult:
    """Record source episodes for one request."""
    scenario = _scenario(spec)
    request = request_from_json(_mapping(spec, "request"))
    ids: list[str] = []
    with Workspace.open(site.workspace) as workspace:
        for episode, verdict in record_sources(scenario, request, scenario_code=_code(spec)):
            write_episode(workspace, episode)
            if verdict is not None:
                workspace.ledger.add_verdict(verdict)
            ids.append(episode.id)
            site.progress(len(ids) / request.count, f"{len(ids)}/{request.count} episodes")
    return StageResult(facts={"episodes": ids})


def fit(spec: StageSpec, site: Site) -> StageResult:
    """Train a challenger on a snapshot."""
    with Workspace.open(site.workspace) as workspace:
        snapshot = load_snapshot(workspace, spec.inputs["snapshot"])
        site.progress(0.0, f"reading {len(snapshot.episodes)} episodes")
        episodes = _read(workspace, snapshot.episodes)
        refuse_held_out(episodes)
        out = site.scratch / "candidate"
        _empty(out)
        learner = Learner.from_json(_mapping(spec, "learner"))
        learn: LearnFunction = find_entry(learner.entry, "learner")
        job = FitJob(
            episodes=episodes,
            seed=spec.seed,
            out=out,
            scratch=site.scratch,
            lineage={"snapshot": spec.inputs["snapshot"], "parent": spec.params["parent"]},
            corpora=build_corpora(learner, site.progress),
            progress=site.progress,
        )
        facts = dict(learn(learner.config, job))
        return StageResult(outputs={"candidate": workspace.objects.put_folder(out)}, facts=facts)


def _empty(folder: Path) -> None:
    """Make the folder, without what a try that died had left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.iterdir():
        leftover.unlink()


def refuse_held_out(episodes: Iterable[Episode]) -> None:
    """Raise :class:`ContractError` if an episode began from a gate or sealed seed."""
    for episode in episodes:
        split = split_of(episode.header.seed)
        if split != "train":
            raise ContractError(
                f"episode {episode.id} began from a {split} seed ({episode.header.seed}); "
                "training on held-out starts would make the gate worthless"
            )


def run_attempts(spec: StageSpec, site: Site) -> StageResult:
    """Let a candidate try each of the given seeds once."""
    scenario = _scenario(spec)
    candidate = spec.inputs["candidate"]
    seeds = [int(s) for s in _list(spec, "seeds")]
    with Workspace.open(site.workspace) as workspace:
        policy = _policy(workspace, candidate, site.scratch)
        code = _code(spec)
        headers = [
            header_of_attempt(scenario, policy, s, candidate, scenario_code=code) for s in seeds
        ]
        verdicts = _recorded(workspace, headers)
        if missing := [s for s in seeds if s not in verdicts]:
            with closing(scenario.make_world()) as world:
                for seed in missing:
                    episode, verdict = attempt(
                        scenario, world, policy, seed, candidate, scenario_code=code
                    )
                    # One that was cut short is kept under an id of its own.
                    verdict = replace(verdict, episode=write_episode(workspace, episode).id)
                    workspace.ledger.add_verdict(verdict)
                    verdicts[seed] = verdict
                    site.progress(len(verdicts) / len(seeds), f"{len(verdicts)}/{len(seeds)}")
    ordered = [verdicts[s] for s in seeds]
    return StageResult(
        facts={
            "episodes": [v.episode for v in ordered],
            "outcomes": [v.outcome for v in ordered],
            "scores": [round(v.score, 6) for v in ordered],
        }
    )


def _recorded(workspace: Workspace, headers: Sequence[EpisodeHeader]) -> dict[int, Verdict]:
    """Return the verdicts on attempts that were recorded earlier, by seed.

    Attempts that a fault of the machine cut short are among them, for a start is tried once: what
    another stage had found there counts here too. A whole attempt goes before such a one.
    """
    if not headers:
        return {}
    ledger, wanted = workspace.ledger, {header.id: header.seed for header in headers}
    rows = ledger.episodes(
        scenario=headers[0].scenario,
        kind="attempt",
        candidate=headers[0].candidate,
        censored=True,
    )
    seeds = {r.id: wanted[cause_of(r.id)] for r in rows if cause_of(r.id) in wanted}
    found = ledger.standing_verdicts(seeds)
    in_order = sorted(found, key=lambda i: (not is_cut_short(i), i))
    return {seeds[identity]: found[identity] for identity in in_order}


def film(spec: StageSpec, site: Site) -> StageResult:
    """Re-render a recorded episode at another size from its recorded actions."""
    scenario = _scenario(spec)
    camera = scenario.interface.cameras[0].name
    with Workspace.open(site.workspace) as workspace:
        (episode,) = _read(workspace, [_text(spec, "episode")])
        if episode.applied is None:
            raise InvalidConfig(f"episode {episode.id} has no actions, so it cannot be re-rendered")
        with closing(scenario.make_world(image_px=int(_text(spec, "image_px")))) as world:
            frames = [world.reset(episode.header.seed).images[camera]]
            for action in episode.applied:
                frames.append(world.step(action).observation.images[camera])
        if is_canvas(scenario.interface):
            frames += frames[-1:] * round(_LINGER_S * scenario.interface.rate_hz)
        data = encode_film(np.stack(frames), scenario.interface.rate_hz)
        return StageResult(outputs={"film": workspace.objects.put_bytes(data)})


def inspect(spec: StageSpec, site: Site) -> StageResult:
    """Ask a candidate what it had foreseen of recorded episodes, and how well it can read them.

    ``surprise`` is the mean forward error per episode, ``agreement`` that of its motion models,
    each null if it cannot tell. Of an episode that was cut short nothing is asked; the mean of the
    others stands for it.
    """
    with Workspace.open(site.workspace) as workspace:
        policy = _policy(workspace, spec.inputs["candidate"], site.scratch)
        named = [str(e) for e in _list(spec, "episodes")]
        episodes = _read(workspace, [e for e in named if not is_cut_short(e)])
        facts: dict[str, Json] = {"surprise": None, "agreement": None}
        if isinstance(policy, MotionReadingPolicy):
            facts["agreement"] = _means(named, [policy.agreement(e) for e in episodes])
        foresight = None
        if isinstance(policy, ForeseeingPolicy) and episodes:
            facts["surprise"] = _means(named, [policy.surprise(e) for e in episodes])
            foresight = policy.imagine(episodes[0], every=_IMAGINE_EVERY)
        if foresight is None:
            return StageResult(facts=facts)
        stored = workspace.objects.put_bytes(foresight_to_bytes(foresight))
        return StageResult(outputs={"foresight": stored}, facts=facts)


def _means(named: Sequence[str], told: Sequence[np.ndarray | None]) -> Json:
    """Return a mean for each named episode of what was told of those that are whole."""
    means = [round(float(np.mean(values)), 6) for values in told if values is not None]
    if len(means) < len(told) or not means:
        return None
    usual = round(float(np.mean(means)), 6)
    known = iter(means)
    return [usual if is_cut_short(e) else next(known) for e in named]


def foresight_to_bytes(foresight: Foresight) -> bytes:
    """Return the arrays of a foresight as one NumPy archive, free of pickles."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        step=foresight.step,
        present=foresight.present,
        imagined=foresight.imagined,
        real=foresight.real,
        horizon_steps=np.array(foresight.horizon_steps),
    )
    return buffer.getvalue()


def foresight_from_bytes(data: bytes) -> Foresight:
    """Read what :func:`foresight_to_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Foresight(
            step=arrays["step"],
            present=arrays["present"],
            imagined=arrays["imagined"],
            real=arrays["real"],
            horizon_steps=int(arrays["horizon_steps"]),
        )


def _read(workspace: Workspace, episode_ids: Sequence[str]) -> list[Episode]:
    """Read episodes; damaged ones are put away, all of them, so that they are recorded anew."""
    episodes: list[Episode] = []
    damage: list[DamagedEpisode] = []
    with closing(EpisodeReader(workspace)) as reader:
        for episode_id in episode_ids:
            try:
                episodes.append(reader.read(episode_id))
            except DamagedEpisode as error:
                damage.append(error)
                if (workspace.episodes_folder / episode_id).is_dir():
                    quarantine_episode(workspace, episode_id, str(error))
    if damage:
        raise damage[0]
    return episodes


def _policy(workspace: Workspace, candidate: str, scratch: Path) -> Policy:
    folder = scratch / f"candidate-{candidate[:12]}"
    workspace.objects.checkout(candidate, folder)
    return load_policy(folder)


def _scenario(spec: StageSpec) -> Scenario:
    """Return the scenario of a stage, if its code is still what the stage's key says.

    Raises:
        InvalidConfig: It was edited since the loop began.
    """
    reference = _text(spec, "scenario")
    if scenario_source_digest(reference) != _code(spec):
        raise InvalidConfig(
            f"the code of scenario {reference} was edited while the loop was running; what it "
            "gives now does not belong to this run. Start the command again, which begins a run "
            "of its own"
        )
    return get_scenario(reference)


def _code(spec: StageSpec) -> str | None:
    code = spec.params["scenario_source"]
    return None if code is None else str(code)


def _text(spec: StageSpec, name: str) -> str:
    return str(spec.params[name])


def _list(spec: StageSpec, name: str) -> Sequence[Any]:
    value = spec.params[name]
    if not isinstance(value, (list, tuple)):
        raise InvalidConfig(f"stage {spec.name!r}: {name} is {value!r}, expected a list")
    return value


def _mapping(spec: StageSpec, name: str) -> Mapping[str, Any]:
    value = spec.params[name]
    if not isinstance(value, Mapping):
        raise InvalidConfig(f"stage {spec.name!r}: {name} is {value!r}, expected a mapping")
    return value
