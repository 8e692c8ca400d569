"""A flipped byte, a truncation, a deletion in every class of file: named, never trained on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_episodes import make_episode

from loopwright.core.episode import Episode, Verdict
from loopwright.core.errors import DamagedData, LoopwrightError
from loopwright.store.doctor import Finding
from loopwright.store.doctor.examination import examine
from loopwright.store.doctor.ledger_log import examine_log
from loopwright.store.doctor.marker import examine_marker
from loopwright.store.doctor.repair import REPAIRS, repair
from loopwright.store.episodes import EpisodeReader, read_episode, write_episode
from loopwright.store.snapshots import Snapshot, load_snapshot, save_snapshot
from loopwright.store.workspace import Workspace

NUM_STEPS = 12


def sound_episode(seed: int = 7, num_steps: int = NUM_STEPS, **changes: object) -> Episode:
    """Make an episode whose actions keep to their range, as those of a control loop do."""
    episode = make_episode(seed=seed, num_steps=num_steps, **changes)
    if episode.requested is None or episode.applied is None:
        return episode
    clip = episode.header.interface.action.clip
    return replace(episode, requested=clip(episode.requested), applied=clip(episode.applied))


def fill(root: Path) -> str:
    """Put one of everything into a workspace; return the digest of the snapshot."""
    with Workspace.create(root, exclusive=True) as workspace:
        rows = [write_episode(workspace, sound_episode(seed=s)) for s in (1, 2)]
        rows.append(write_episode(workspace, sound_episode(seed=3, kind="video")))
        candidate = root.parent / f"{root.name}-candidate"
        candidate.mkdir()
        (candidate / "weights.json").write_text('{"weights": [1, 2, 3, 4, 5, 6, 7, 8, 9]}')
        (candidate / "candidate.json").write_text('{"family": "linear"}')
        digest = workspace.objects.put_folder(candidate)
        report = workspace.objects.put_json({"pairs": 20, "won": 14})
        ledger = workspace.ledger
        ledger.promote(alias="a", candidate=digest, expected=None, decision_id="d0", kind="genesis")
        other = workspace.objects.put_json({"folder": {}})
        ledger.promote(
            alias="a", candidate=other, expected=digest, decision_id="d1", gate_report=report
        )
        for row in rows:
            ledger.add_verdict(
                Verdict(
                    episode=row.id,
                    outcome="success",
                    score=1.0,
                    verifier="drawn/1",
                    evidence_digest="e" * 64,
                )
            )
        run = ledger.begin_run("smoke", {"seed": 3})
        ledger.record_round(run, 0, {"promoted": True})
        ledger.use_seeds("gate", "drawer-open-v1", range(40), "a look")
        return save_snapshot(workspace, Snapshot(episodes=tuple(row.id for row in rows)))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("filled") / "ws"
    return root, fill(root)


@pytest.fixture
def sick(filled: tuple[Path, str], tmp_path: Path) -> Path:
    shutil.copytree(filled[0], tmp_path / "ws")
    return tmp_path / "ws"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    write(path, bytes(data))


def write(path: Path, data: bytes) -> None:
    """Replace the bytes of a file, be it read-only or not; the mode stays."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)


def places(size: int) -> Iterator[int]:
    """Yield places all over a file."""
    yield from sorted({0, 1, size // 7, size // 3, size // 2, 4 * size // 5, size - 2, size - 1})


def found(root: Path, *, deep: bool = True) -> list[Finding]:
    return list(examine(root, deep=deep))


def is_named(findings: list[Finding], where: str) -> bool:
    return any(finding.where.startswith(where) for finding in findings)


def train(root: Path, snapshot: str) -> list[Episode]:
    """Read every episode of a snapshot, as a learner does."""
    with Workspace.open(root) as workspace:
        reader = EpisodeReader(workspace)
        return [reader.read(episode) for episode in load_snapshot(workspace, snapshot).episodes]


def test_a_healthy_workspace_gives_no_finding_and_is_not_touched(filled: tuple[Path, str]) -> None:
    root, _ = filled

    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    before = times()
    assert found(root) == []
    assert found(root, deep=False) == []
    assert times() == before


def test_a_workspace_that_is_being_written_gives_no_finding(tmp_path: Path) -> None:
    fill(tmp_path / "ws")
    with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
        for seed in range(10, 14):
            write_episode(workspace, sound_episode(seed=seed))
            assert found(workspace.root) == []


FIRST = "episodes/*/"
FILES = {
    "description": f"{FIRST}episode.json",
    "table": f"{FIRST}data.parquet",
    "film": f"{FIRST}front.mp4",
    "snapshot": "snapshots/*.json",
    "object": "objects/sha256/*/*",
}


def of_class(root: Path, kind: str) -> list[Path]:
    return sorted(root.glob(FILES[kind]))


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("how", ["flip", "truncate", "empty", "delete"])
def test_damage_of_a_file_is_named_and_never_trained_on(
    sick: Path, filled: tuple[Path, str], kind: str, how: str
) -> None:
    for path in of_class(sick, kind):
        data = path.read_bytes()
        for place in places(len(data)) if how == "flip" else [len(data) // 2]:
            if how == "flip":
                flip(path, place)
            elif how == "delete":
                path.unlink()
            else:
                write(path, data[:place] if how == "truncate" else b"")
            where = path.relative_to(sick).as_posix()
            findings = found(sick)
            assert is_named(findings, where), (where, place, findings)
            if kind in ("description", "table", "film"):
                assert path.parent.name in {finding.episode for finding in findings}
                with pytest.raises(DamagedData, match=path.parent.name):
                    train(sick, filled[1])
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            path.chmod(0o444 if kind == "object" else 0o644)
    assert found(sick) == []


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("how", ["truncate", "delete"])
def test_the_quick_look_finds_what_can_be_seen_from_outside(
    sick: Path, kind: str, how: str
) -> None:
    path = of_class(sick, kind)[0]
    if how == "delete":
        path.unlink()
    else:
        write(path, b"")
    if kind != "object" or how == "delete":
        assert is_named(found(sick, deep=False), path.relative_to(sick).as_posix())


def dump(root: Path) -> list[str]:
    with sqlite3.connect(f"file:{root / 'ledger.db'}?immutable=1", uri=True) as connection:
        return list(connection.iterdump())


def test_a_flipped_byte_of_the_ledger_is_named_or_changes_nothing(sick: Path) -> None:
    """SQLite has unused bytes; of the others none may change unnoticed."""
    healthy, path = dump(sick), sick / "ledger.db"
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    named = 0
    texts = [data.index(text) for text in (b'"success"', b"genesis", b"smoke", b"a look")]
    texts += [data.index(b'"score":1.0') + 8, data.rindex(b"d1")]
    for place in [*range(100), *texts, *rng.integers(0, len(data), 60).tolist()]:
        flip(path, place)
        findings = found(sick, deep=False)
        assert all(finding.where.startswith("ledger.db") for finding in findings) or findings
        named += bool(findings)
        if not findings:
            assert dump(sick) == healthy, place
        assert findings or place not in texts, place
        path.write_bytes(data)
    assert named > 20


@pytest.mark.parametrize("how", ["truncate", "empty", "delete", "foreign", "garbage"])
def test_a_lost_ledger_is_named_and_rebuilt_beside_the_old_one(sick: Path, how: str) -> None:
    path = sick / "ledger.db"
    data = path.read_bytes()
    if how == "delete":
        path.unlink()
    elif how == "foreign":
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE things (name TEXT)")
        connection.close()
    else:
        path.write_bytes({"truncate": data[: len(data) // 2], "empty": b""}.get(how, data[::-1]))
    findings = found(sick)
    assert is_named(findings, "ledger.db")
    with pytest.raises(LoopwrightError):
        train(sick, "0" * 64)
    [done] = {each.done for each in repair(sick, findings) if each.finding.check == "ledger/file"}
    assert "lost" in done
    assert "verdicts" in done
    assert found(sick) == []
    with Workspace.open(sick) as workspace:
        assert len(workspace.ledger.episodes()) == 3
    kept = [p for p in sick.iterdir() if p.name.startswith("ledger.db.damaged")]
    assert bool(kept) == (how != "delete")


def test_of_a_ledger_with_one_bad_row_all_others_are_kept(sick: Path) -> None:
    path = sick / "ledger.db"
    data = path.read_bytes()
    flip(path, data.index(b'"score":1.0') + 8)
    [finding] = found(sick, deep=False)
    assert finding.check == "ledger/row"
    assert "verdicts" in finding.message
    repair(sick, [finding])
    assert found(sick) == []
    with Workspace.open(sick) as workspace:
        ledger = workspace.ledger
        judged = ledger.standing_verdicts(row.id for row in ledger.episodes())
        assert len(judged) == 2  # of three
        assert [d.id for d in ledger.decisions("a")] == ["d0", "d1"]
        assert [run.recipe for run in ledger.runs()] == ["smoke"]
        assert len(ledger.rounds(ledger.runs()[0].id)) == 1
        assert len(ledger.seed_uses("gate", "drawer-open-v1")) == 40
    assert (sick / kept_ledger(sick)).read_bytes() != data


def kept_ledger(root: Path) -> str:
    [name] = (p.name for p in root.iterdir() if p.name.startswith("ledger.db.damaged"))
    return name


WRITER = """
import os, signal, sys
from pathlib import Path
from loopwright.store.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]), exclusive=True)
for number in range(5):
    workspace.ledger.add_event("before the power failed", number=number)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(sick: Path) -> Path:
    """Return a workspace whose last transactions are in the ledger's log only."""
    done = subprocess.run([sys.executable, "-c", WRITER, str(sick)], check=False)
    assert done.returncode == -signal.SIGKILL
    return sick


def test_a_log_that_a_kill_left_is_healthy_and_left_alone(killed: Path) -> None:
    log = (killed / "ledger.db-wal").read_bytes()
    assert len(log) > 5 * 4096
    assert found(killed) == []
    assert (killed / "ledger.db-wal").read_bytes() == log
    with Workspace.open(killed) as workspace:
        assert len(workspace.ledger.events()) == 5


def test_a_flipped_byte_anywhere_in_the_log_is_named(killed: Path) -> None:
    path = killed / "ledger.db-wal"
    data = path.read_bytes()
    for place in [*range(56), *np.random.default_rng(0).integers(0, len(data), 40).tolist()]:
        flip(path, place)
        assert [finding.where for finding in examine_log(killed)] == ["ledger.db-wal"], place
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncate", "frames", "empty", "delete"])
def test_a_log_that_was_cut_or_lost_is_named(killed: Path, how: str) -> None:
    path = killed / "ledger.db-wal"
    data = path.read_bytes()
    if how == "delete":
        path.unlink()
    else:
        cut = {"truncate": len(data) - 100, "frames": len(data) - 2 * 4120, "empty": 0}[how]
        path.write_bytes(data[:cut])
    findings = found(killed)
    assert is_named(findings, "ledger.db-wal")
    repair(killed, findings)
    assert found(killed) == []


def test_the_marker_is_named_and_written_anew(sick: Path) -> None:
    path = sick / "workspace.toml"
    data = path.read_bytes()
    date = range(data.index(b'"') + 1, data.rindex(b'"'))
    for place in range(len(data)):
        flip(path, place)
        if findings := list(examine_marker(sick)):
            assert {finding.where for finding in findings} == {"workspace.toml"}
        else:
            assert place in date or data[place : place + 1].isspace()
        path.write_bytes(data)
    for text in (b"", data[:10], None):
        path.unlink()
        if text is not None:
            path.write_bytes(text)
        findings = found(sick)
        assert [finding.where for finding in findings] == ["workspace.toml"]
        repair(sick, findings)
        assert found(sick) == []


def staged(root: Path, *, described: bool = False) -> Path:
    """Leave what a killed recorder leaves."""
    point = "description.published:1" if described else "recording.step_stored:6"
    code = (
        "import sys; from pathlib import Path; from test_doctor_workspace import sound_episode;"
        "from loopwright.store.episodes import write_episode;"
        "from loopwright.store.workspace import Workspace;"
        "write_episode(Workspace.open(Path(sys.argv[1])), sound_episode(seed=9, num_steps=8))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "LOOPWRIGHT_CRASH_AT": point,
    }
    done = subprocess.run([sys.executable, "-c", code, str(root)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    [folder] = (root / "staging/recordings").iterdir()
    return folder


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
def test_damage_of_a_staged_recording_is_named_and_no_batch_sees_it(
    sick: Path, described: bool, how: str
) -> None:
    folder = staged(sick, described=described)
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        case = sick.parent / f"case-{name}"
        shutil.copytree(sick, case)
        path = case / "staging/recordings" / folder.name / name
        if how == "flip":
            flip(path, path.stat().st_size // 2)
        elif how == "truncate":
            os.truncate(path, path.stat().st_size // 2)
        else:
            path.unlink()
        findings = found(case)
        relative = path.relative_to(case).as_posix()
        assert is_named(findings, f"staging/recordings/{folder.name}"), findings
        # A row or a film that still decodes has no digest yet: the recording is named then.
        undecided = how == "flip" and name in ("rows.bin", "front.mp4", "wrist.mp4", "header.json")
        # Once there is a description nobody needs the others; and a recording without one is what
        # a crash before it was written leaves.
        is_needed = not described or name.endswith((".parquet", ".mp4"))
        if is_needed and not undecided:
            assert is_named(findings, relative), (relative, findings)
        repair(case, findings)
        assert found(case) == []
        with Workspace.open(case) as workspace:
            whole = {row.id for row in workspace.ledger.episodes()}
            assert len(whole) == 3 or described
            for row in workspace.ledger.episodes(censored=True):
                read_episode(workspace, row.id)


def test_repair_puts_damage_away_and_a_second_look_says_what_is_left(
    sick: Path, filled: tuple[Path, str]
) -> None:
    one, two = sorted((sick / "episodes").iterdir())[:2]
    flip(one / "front.mp4", 500)
    os.truncate(two / "data.parquet", 100)
    weights = next(
        p
        for p in (sick / "objects").rglob("*")
        if p.is_file() and p.read_bytes()[:10] == b'{"weights"'
    )
    flip(weights, 5)
    findings = found(sick)
    done = repair(sick, findings)
    assert {each.finding.where for each in done} >= {
        f"episodes/{one.name}/front.mp4",
        f"episodes/{two.name}/data.parquet",
        weights.relative_to(sick).as_posix(),
    }
    kept = [p for p in (sick / "episodes/quarantine").iterdir() if p.is_dir()]
    assert len(kept) == 2
    assert all(p.with_suffix(".txt").read_text().strip() for p in kept)
    left = found(sick)
    assert {finding.check for finding in left} == {"object/missing", "snapshot/episodes"}
    assert {finding.repair for finding in left} == {None}
    assert repair(sick, left) == []
    assert found(sick) == left
    with pytest.raises(DamagedData, match=one.name):
        train(sick, filled[1])


def test_a_snapshot_is_restored_from_its_object_and_back(
    sick: Path, filled: tuple[Path, str]
) -> None:
    file = sick / f"snapshots/{filled[1]}.json"
    stored = sick / f"objects/sha256/{filled[1][:2]}/{filled[1]}"
    for path in (file, stored):
        for damage in (lambda p: p.unlink(), lambda p: flip(p, 20)):
            damage(path)
            findings = found(sick)
            assert is_named(findings, path.relative_to(sick).as_posix())
            repair(sick, findings)
            repair(sick, found(sick))
            assert found(sick) == []
            assert len(train(sick, filled[1])) == 3


def test_modes_strays_and_temporary_files_are_put_right(sick: Path) -> None:
    stored = of_class(sick, "object")[0]
    stored.chmod(0o644)
    (sick / "objects/sha256/ab").mkdir(exist_ok=True)
    (sick / "objects/sha256/ab/notes.txt").write_text("mine")
    (sick / "objects/tmp/1-0-abc").write_bytes(b"half")
    (sick / "snapshots/.x.json.1.tmp").write_text("half")
    (sick / "episodes/readme.txt").write_text("mine")
    [first, *_] = sorted(path for path in (sick / "episodes").iterdir() if path.is_dir())
    (first / "notes.txt").write_text("mine")
    findings = found(sick, deep=False)
    assert {finding.check for finding in findings} == {
        "object/mode",
        "object/stray",
        "object/temporary",
        "workspace/temporary",
        "episode/stray",
    }
    assert len(repair(sick, findings)) == len(findings)
    assert found(sick) == []
    assert [p.read_text() for p in (sick / "objects/quarantine").glob("notes.txt-*[!t]")] == [
        "mine"
    ]


def test_an_index_that_disagrees_with_the_folders_is_put_right(sick: Path) -> None:
    with Workspace.open(sick) as workspace:
        [one, two, _] = workspace.ledger.episodes()
        workspace.ledger.forget_episodes([one.id, two.id])
        workspace.ledger.add_episode(replace(two, num_steps=99))
    findings = found(sick)
    assert {(f.check, f.episode) for f in findings} == {
        ("index/missing", one.id),
        ("index/row", two.id),
    }
    repair(sick, findings)
    assert found(sick) == []
    shutil.rmtree(sick / "episodes" / one.id)
    findings = found(sick)
    assert {f.check for f in findings} == {"episode/missing", "snapshot/episodes"}
    repair(sick, findings)
    assert {f.check for f in found(sick)} == {"snapshot/episodes"}


def test_an_episode_that_was_replaced_is_quarantined_not_indexed(
    sick: Path, tmp_path: Path
) -> None:
    with Workspace.create(tmp_path / "elsewhere") as elsewhere:
        original = sound_episode(seed=1)
        assert original.proprio is not None
        row = write_episode(elsewhere, replace(original, proprio=original.proprio + 1))
        shutil.rmtree(sick / "episodes" / row.id)
        shutil.copytree(elsewhere.episodes_folder / row.id, sick / "episodes" / row.id)
    findings = found(sick)
    assert [finding.check for finding in findings] == ["index/digest"]
    repair(sick, findings)
    assert row.id not in {path.name for path in (sick / "episodes").iterdir()}


@pytest.mark.parametrize("name", ["episodes", "objects", "snapshots", "staging", "views"])
def test_a_missing_folder_is_named_and_made_anew(sick: Path, name: str) -> None:
    shutil.rmtree(sick / name)
    findings = found(sick)
    assert is_named(findings, name)
    repair(sick, findings)
    assert not is_named([f for f in found(sick) if f.check == "workspace/folder"], name)


def test_a_link_in_the_place_of_a_file_is_named_and_not_followed(sick: Path) -> None:
    [folder, *_] = sorted(path for path in (sick / "episodes").iterdir() if path.is_dir())
    path = folder / "data.parquet"
    shutil.move(path, sick.parent / "outside")
    path.symlink_to(sick.parent / "outside")
    assert is_named(found(sick), f"episodes/{folder.name}/data.parquet")
    with Workspace.open(sick) as workspace, pytest.raises(DamagedData, match="link"):
        read_episode(workspace, folder.name)
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever
    assert is_named(found(sick), f"episodes/{folder.name}/data.parquet")
    with Workspace.open(sick) as workspace, pytest.raises(DamagedData, match="special"):
        read_episode(workspace, folder.name)


def test_promotions_without_evidence_are_named(sick: Path) -> None:
    with Workspace.open(sick) as workspace:
        champion = workspace.ledger.champion("a")
        workspace.ledger.promote(
            alias="a", candidate="f" * 64, expected=champion, decision_id="d2", gate_report="0" * 64
        )
    assert {f.where.split("/")[-1] for f in found(sick)} == {"f" * 64, "0" * 64}
    assert {f.repair for f in found(sick)} == {None}


def test_every_repair_that_is_proposed_exists() -> None:
    source = Path(sys.modules[examine.__module__].__file__ or "").parent
    text = "".join(path.read_text() for path in source.glob("*.py"))
    for check in REPAIRS:
        assert f'"{check}"' in text.replace(f'    "{check}": _', ""), check


def test_a_flipped_byte_of_a_row_is_no_traceback_and_no_label(
    sick: Path, filled: tuple[Path, str]
) -> None:
    path = sick / "ledger.db"
    data = path.read_bytes()
    for text in (b'"success"', b'"score":1.0', b'"seed":3', b'"promoted"', b"drawer_x_m", b"d1"):
        begin = data.rindex(text)
        for place in range(begin, begin + len(text)):
            for flipped in (1, 128):
                damaged = bytearray(data)
                damaged[place] ^= flipped
                path.write_bytes(bytes(damaged))
                verdicts = read_all(sick)
                assert all(verdict.score == 1.0 for verdict in verdicts)
                assert all(verdict.outcome == "success" for verdict in verdicts)


def read_all(root: Path) -> list[Verdict]:
    """Read all there is in a ledger; damage is a typed error."""
    verdicts: list[Verdict] = []
    with contextlib.suppress(DamagedData), Workspace.open(root) as workspace:
        ledger = workspace.ledger
        for act in (ledger.events, lambda: [ledger.rounds(run.id) for run in ledger.runs()]):
            with contextlib.suppress(DamagedData):
                act()
        ids = ledger.episode_ids()
        with contextlib.suppress(DamagedData):
            ledger.episodes(censored=True)
        for identity in ids:
            with contextlib.suppress(DamagedData):
                verdicts += ledger.verdicts(identity)
            with contextlib.suppress(DamagedData):
                verdicts += ledger.standing_verdicts([identity]).values()
        ledger.decisions("a")
    return verdicts
