"""What a finished stage had made and is lost or damaged is made anew, in the same command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_loop import StopsAfter, Whole, digest_of, turn

from loopwright.compute.process import ProcessExecutor
from loopwright.core.digest import digest_file
from loopwright.core.errors import DamagedData
from loopwright.core.stage import Receipt, Site, StageSpec
from loopwright.loop.config import LoopConfig
from loopwright.loop.story import tell
from loopwright.store.doctor.examination import examine
from loopwright.store.doctor.repair import repair
from loopwright.store.workspace import Workspace


def flip_a_byte(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    path.chmod(0o444)


def remove(path: Path) -> None:
    path.unlink()


def object_path(root: Path, digest: str) -> Path:
    return root / "objects" / "sha256" / digest[:2] / digest


def film(root: Path, whole: Whole) -> Path:
    assert whole.ending is not None
    return object_path(root, whole.ending.films[1].last)


def gate_report(root: Path, whole: Whole) -> Path:
    digest = whole.records[2].gate_report
    assert digest is not None
    return object_path(root, digest)


def snapshot(root: Path, whole: Whole) -> Path:
    digest = whole.records[3].snapshot
    (root / "snapshots" / f"{digest}.json").unlink()  # the other copy
    return object_path(root, digest)


def candidate_manifest(root: Path, whole: Whole) -> Path:
    return object_path(root, whole.records[2].challenger)


@pytest.mark.parametrize("find", [film, gate_report, snapshot, candidate_manifest])
@pytest.mark.parametrize("hurt", [flip_a_byte, remove])
def test_an_object_of_a_finished_loop_is_made_anew(
    tmp_path: Path,
    config: LoopConfig,
    whole: Whole,
    find: Callable[[Path, Whole], Path],
    hurt: Callable[[Path], None],
) -> None:
    victim = find(whole.copy(tmp_path), whole)
    hurt(victim)
    assert digest_of(turn(tmp_path, config)) == whole.digest
    assert digest_file(victim) == victim.name
    quarantined = [p for p in (tmp_path / "objects/quarantine").iterdir() if p.suffix != ".txt"]
    assert len(quarantined) == (hurt is flip_a_byte)
    with Workspace.open(tmp_path) as workspace:
        assert len(tell(workspace, workspace.ledger.runs()[0]).films) == 3


def candidate_weights(root: Path, whole: Whole) -> Path:
    with Workspace.open(root) as workspace:
        manifest = workspace.objects.read_json(whole.records[2].challenger)["folder"]
    return object_path(root, manifest["weights.json"])


def demonstration(root: Path, whole: Whole) -> Path:
    return root / "episodes" / whole.records[0].added[0][3] / "data.parquet"


def own_attempt(root: Path, whole: Whole) -> Path:
    return root / "episodes" / whole.records[2].operated.episodes[0] / "top.mp4"


def gate_attempt(root: Path, whole: Whole) -> Path:
    trials = whole.records[1].challenger_trials
    assert trials is not None
    return root / "episodes" / trials.episodes[5] / "episode.json"


def sealed_attempt(root: Path, whole: Whole) -> Path:
    assert whole.ending is not None
    return root / "episodes" / whole.ending.first.episodes[2] / "data.parquet"


@pytest.mark.parametrize("hurt", [flip_a_byte, remove])
def test_what_the_doctor_puts_away_comes_back(
    tmp_path: Path, config: LoopConfig, whole: Whole, hurt: Callable[[Path], None]
) -> None:
    classes = (
        demonstration,
        own_attempt,
        gate_attempt,
        sealed_attempt,
        candidate_weights,
        film,
        gate_report,
    )
    whole.copy(tmp_path)
    victims = [find(tmp_path, whole) for find in classes]
    for victim in victims:
        hurt(victim)
    findings = list(examine(tmp_path))
    named = " ".join(f"{finding.where} {finding.message}" for finding in findings)
    for victim in victims:
        owner = victim.parent.name if victim.suffix else victim.name
        assert owner in named
    repair(tmp_path, findings)
    assert digest_of(turn(tmp_path, config)) == whole.digest
    assert list(examine(tmp_path)) == []


def stage_of(folder: Path, name: str, *, nth: int) -> int:
    """Return how many stages are attempted before the n-th of that name."""
    with Workspace.open(folder) as workspace:
        attempts = [attempt.name for attempt in workspace.ledger.attempts()]
    return [i for i, found in enumerate(attempts) if found == name][nth]


@pytest.mark.parametrize("processes", [False, True])
def test_damaged_episodes_are_put_away_and_recorded_before_training_goes_on(
    tmp_path: Path, config: LoopConfig, whole: Whole, processes: bool
) -> None:
    config = replace(config, rounds=(), sealed_episodes=0) if processes else config
    with pytest.raises(KeyboardInterrupt):
        turn(tmp_path, config, StopsAfter(2))  # demonstrations and play are there, nothing else
    with Workspace.open(tmp_path) as workspace:
        victims = [row.id for row in workspace.ledger.episodes(kind="demo")][3:5]
        for victim in victims:
            flip_a_byte(workspace.episodes_folder / victim / "data.parquet")
    records, ending = turn(tmp_path, config, ProcessExecutor() if processes else None)
    assert records[0].to_json() == whole.records[0].to_json()
    assert processes or digest_of((records, ending)) == whole.digest
    kept = [p.name for p in (tmp_path / "episodes/quarantine").iterdir() if p.is_dir()]
    assert {name.rpartition("-")[0] for name in kept} == set(victims)


def test_a_damaged_candidate_is_put_away_and_trained_again(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    with pytest.raises(KeyboardInterrupt):
        turn(tmp_path, config, StopsAfter(stage_of(whole.folder, "fit", nth=1)))
    champion = whole.records[0].challenger
    with Workspace.open(tmp_path) as workspace:
        manifest = workspace.objects.read_json(champion)["folder"]
        flip_a_byte(workspace.objects.path(manifest["weights.json"]))
    assert digest_of(turn(tmp_path, config)) == whole.digest


class DamagingDisk(StopsAfter):
    """Flips a byte in the first demonstration whenever it has been recorded."""

    def run(self, spec: StageSpec, site: Site, **hooks) -> Receipt:
        receipt = super().run(spec, site, **hooks)
        if spec.name == "collect":
            episode = receipt.result.facts["episodes"][0]
            flip_a_byte(site.workspace / "episodes" / episode / "data.parquet")
        return receipt


def test_a_disk_that_goes_on_damaging_ends_the_command(tmp_path: Path, config: LoopConfig) -> None:
    with pytest.raises(DamagedData, match=r"data\.parquet"):
        turn(tmp_path, config, DamagingDisk(50))
