from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawn_episodes import INTERFACE, make_episode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.cli import EXIT_USAGE, main
from loopwright.core.episode import Episode, EpisodeHeader, Verdict
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError
from loopwright.core.interface import CameraSpec, Interface, VectorSpec
from loopwright.store.episodes import read_episode, write_episode
from loopwright.store.exchange import lerobot_export
from loopwright.store.exchange.lerobot_export import export_lerobot
from loopwright.store.exchange.lerobot_import import import_lerobot
from loopwright.store.snapshots import Snapshot, save_snapshot
from loopwright.store.workspace import Workspace


def judge(workspace: Workspace, episode: str, outcome: str) -> None:
    workspace.ledger.add_verdict(
        Verdict(
            episode=episode,
            outcome=outcome,  # type: ignore[arg-type]
            score=0.5,
            verifier="v/1",
            evidence_digest="0" * 64,
        )
    )


def record(workspace: Workspace, outcomes: Sequence[str] = ("success", "failure")) -> list[str]:
    ids = [
        write_episode(workspace, make_episode(seed=s, num_steps=9 + s)).id
        for s in range(len(outcomes))
    ]
    for identity, outcome in zip(ids, outcomes, strict=True):
        judge(workspace, identity, outcome)
    return ids


def test_films_are_the_episodes_own_bytes(workspace: Workspace, tmp_path: Path) -> None:
    ids = record(workspace)
    exported = export_lerobot(workspace, ids, tmp_path / "deep/er/view")
    assert (exported.episodes, exported.steps) == (2, 19)
    for number, identity in enumerate(ids):
        own = workspace.episodes_folder / identity / "front.mp4"
        name = f"videos/observation.images.front/chunk-000/file-{number:03d}.mp4"
        assert (exported.folder / name).samefile(own)
    assert sorted(p.name for p in exported.folder.parent.iterdir()) == ["view"]


def test_films_are_copied_on_request_and_where_the_disk_cannot_link(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = record(workspace)
    name = "videos/observation.images.front/chunk-000/file-000.mp4"
    own = workspace.episodes_folder / ids[0] / "front.mp4"
    asked = export_lerobot(workspace, ids, tmp_path / "asked", link=False).folder / name

    def cannot(source: object, target: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", cannot)
    forced = export_lerobot(workspace, ids, tmp_path / "forced").folder / name
    for copy in (asked, forced):
        assert not copy.samefile(own)
        assert copy.read_bytes() == own.read_bytes()


def test_a_thousand_films_fill_a_chunk(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lerobot_export.layout, "FILES_PER_CHUNK", 2)
    monkeypatch.setattr(lerobot_export.layout, "DATA_FILE_MB", 0)
    ids = record(workspace, ["success"] * 5)
    folder = export_lerobot(workspace, ids, tmp_path / "view").folder
    wanted = ["chunk-000/file-000", "chunk-000/file-001", "chunk-001/file-000"]
    for part, suffix in (("data", ".parquet"), ("videos/observation.images.wrist", ".mp4")):
        files = sorted((folder / part).rglob(f"*{suffix}"))
        names = [p.relative_to(folder / part).with_suffix("").as_posix() for p in files]
        assert names == [*wanted, "chunk-001/file-001", "chunk-002/file-000"]
    back = import_lerobot(folder, workspace)
    assert (back.added, back.damaged) == (5, ())


def test_an_unknown_outcome_is_never_called_a_failure(workspace: Workspace, tmp_path: Path) -> None:
    ids = record(workspace, ("success", "unknown", "failure"))
    exported = export_lerobot(workspace, ids, tmp_path / "view")
    rows = pq.read_table(exported.folder / "data/chunk-000/file-000.parquet")
    assert "next.success" not in rows.column_names
    listed = pq.read_table(exported.folder / "meta/episodes/chunk-000/file-000.parquet")
    assert listed["success"].to_pylist() == [True, None, False]
    assert listed["loopwright/episode"].to_pylist() == ids
    assert any("1 of 3 episodes have no verdict" in note for note in exported.notes)
    back = import_lerobot(exported.folder, workspace)
    standing = [workspace.ledger.standing_verdict(i) for i in back.episodes]
    assert [v.outcome if v else None for v in standing] == ["success", None, "failure"]


def test_a_mixture_of_interfaces_is_refused_with_names(
    workspace: Workspace, tmp_path: Path
) -> None:
    ids = record(workspace)
    faster = replace(INTERFACE, rate_hz=25.0)
    other = write_episode(workspace, make_episode(seed=9, interface=faster)).id
    with pytest.raises(InvalidConfig, match=f"1 of 3 .* than {ids[0]}: {other} .its rate_hz"):
        export_lerobot(workspace, [*ids, other], tmp_path / "view")
    assert list(tmp_path.glob("*view*")) == []


def test_videos_strangers_and_doubles_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    ids = record(workspace)
    video = write_episode(workspace, make_episode(kind="video", seed=3)).id
    with pytest.raises(InvalidConfig, match=f"1 of 3 episodes are videos .{video}"):
        export_lerobot(workspace, [*ids, video], tmp_path / "view")
    with pytest.raises(InvalidConfig, match="come again"):
        export_lerobot(workspace, [*ids, ids[0]], tmp_path / "view")
    with pytest.raises(InvalidConfig, match="no episode"):
        export_lerobot(workspace, [], tmp_path / "view")
    with pytest.raises(DamagedData, match="is missing"):
        export_lerobot(workspace, ["0" * 20], tmp_path / "view")
    assert list(tmp_path.glob("*view*")) == []


def test_numbers_that_would_poison_the_statistics_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    made = make_episode(num_steps=5)
    assert made.applied is not None
    made.applied[3, 1] = np.nan
    identity = write_episode(workspace, made).id
    with pytest.raises(DamagedData, match=f"{identity}: applied is not finite in row 3"):
        export_lerobot(workspace, [identity], tmp_path / "view")


def test_a_taken_name_and_the_workspace_itself_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    ids = record(workspace)
    taken, link, file = tmp_path / "taken", tmp_path / "link", tmp_path / "file"
    (taken / "inside").mkdir(parents=True)
    link.symlink_to(tmp_path)
    file.touch()
    for place in (taken, link, file, workspace.episodes_folder / "view", workspace.root / "x"):
        with pytest.raises(InvalidConfig, match=r"not empty|no folder|inside the workspace"):
            export_lerobot(workspace, ids, place)
    (tmp_path / "empty").mkdir()
    export_lerobot(workspace, ids, tmp_path / "empty")
    export_lerobot(workspace, ids, workspace.root / "views/mine")


@pytest.mark.parametrize("name", ["front.mp4", "data.parquet", "episode.json"])
@pytest.mark.parametrize("harm", ["flip", "gone"])
def test_a_damaged_episode_leaves_nothing_behind(
    name: str, harm: str, workspace: Workspace, tmp_path: Path
) -> None:
    ids = record(workspace)
    path = workspace.episodes_folder / ids[1] / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.unlink() if harm == "gone" else path.write_bytes(data)
    with pytest.raises(DamagedData, match=ids[1]):
        export_lerobot(workspace, ids, tmp_path / "view")
    assert list(tmp_path.glob("*view*")) == []


def test_a_full_disk_leaves_nothing_behind(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    ids = record(workspace)
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(StorageError, match="free some space"):
        export_lerobot(workspace, ids, tmp_path / "view")
    assert list(tmp_path.glob("*view*")) == []


def test_what_a_killed_export_left_goes_with_the_next_one(
    workspace: Workspace, tmp_path: Path
) -> None:
    ids = record(workspace)
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from loopwright.store.exchange.new_folder import new_folder\n"
        "with new_folder(Path(sys.argv[1])) as place:\n"
        "    (place / 'half').touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "view"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [p.name[:6] for p in tmp_path.glob("*view*")] == [".view."]
    export_lerobot(workspace, ids, tmp_path / "view")
    assert [p.name for p in tmp_path.glob("*view*")] == ["view"]


NAMES = st.text("abcxyz019.-_ äß", min_size=1, max_size=6).map(str.strip).filter(bool)


@st.composite
def vectors(draw: st.DrawFn, least: int) -> VectorSpec:
    names = draw(st.lists(NAMES, min_size=least, max_size=4, unique=True))
    lows = [draw(st.floats(-1e6, 1e6)) for _ in names]
    widths = [draw(st.floats(0, 1e6)) for _ in names]
    return VectorSpec(
        names=tuple(names),
        units=tuple(draw(st.sampled_from(["", "m", "rad/s"])) for _ in names),
        low=tuple(lows),
        high=tuple(low + width for low, width in zip(lows, widths, strict=True)),
    )


@st.composite
def interfaces(draw: st.DrawFn) -> Interface:
    names = draw(
        st.lists(
            st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,5}", fullmatch=True),
            max_size=2,
            unique_by=str.lower,
        )
    )
    side = st.integers(8, 20).map(lambda n: 2 * n)
    return Interface(
        cameras=tuple(CameraSpec(name=n, height_px=draw(side), width_px=draw(side)) for n in names),
        proprio=draw(vectors(0)),
        action=draw(vectors(1)),
        rate_hz=draw(st.sampled_from([1.0, 7.5, 10.0, 12.5, 29.97, 30.0, 100 / 3, 50.0, 240.0])),
    )


@st.composite
def episodes(draw: st.DrawFn) -> list[Episode]:
    of = draw(interfaces())
    regular, filtered = draw(st.booleans()), draw(st.booleans())
    made = []
    for seed in range(draw(st.integers(1, 3))):
        rng, num_steps = np.random.default_rng(seed), draw(st.integers(1, 13))
        header = EpisodeHeader(
            scenario="s-v1",
            kind="play",
            seed=seed,
            start={},
            instruction=draw(st.text(max_size=5)),
            body="robot",
            interface=of,
        )
        applied = rng.normal(size=(num_steps, of.action.size)).astype(np.float32)
        wait_s = 1 / of.rate_hz * (1 if regular else rng.uniform(0.5, 1.5, num_steps))
        time_s = np.arange(num_steps) / of.rate_hz if regular else np.cumsum(wait_s)
        made.append(
            Episode(
                header=header,
                images={
                    c.name: rng.integers(0, 256, (num_steps, c.height_px, c.width_px, 3), np.uint8)
                    for c in of.cameras
                },
                time_s=time_s,
                proprio=rng.normal(size=(num_steps, of.proprio.size)).astype(np.float32),
                requested=applied + 1 if filtered else applied,
                applied=applied,
                evidence=np.zeros((num_steps, 0)),
            )
        )
    return made


@given(episodes())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_goes_out_comes_back(made: list[Episode]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        with Workspace.create(root / "from") as source, Workspace.create(root / "to") as target:
            ids = [write_episode(source, episode).id for episode in made]
            export_lerobot(source, ids, root / "view")
            back = import_lerobot(root / "view", target)
            assert back.damaged == ()
            assert len(back.episodes) == len(ids)
            for ours, theirs in zip(ids, back.episodes, strict=True):
                same(read_episode(source, ours), read_episode(target, theirs))
            assert import_lerobot(root / "view", target).added == 0


def same(ours: Episode, theirs: Episode) -> None:
    assert theirs.header.interface == ours.header.interface
    assert theirs.header.instruction == ours.header.instruction
    for part in ("proprio", "requested", "applied"):
        np.testing.assert_array_equal(getattr(theirs, part), getattr(ours, part))
    np.testing.assert_allclose(theirs.time_s, ours.time_s, atol=1e-5)
    for camera, frames in ours.images.items():
        # Noise is encoded twice; a shift by one frame would make it 8 dB.
        error = np.mean((theirs.images[camera].astype(float) - frames) ** 2)
        assert 10 * np.log10(255**2 / (error + 1e-9)) > 25


def test_the_command_line_exports_and_imports(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = record(workspace)
    write_episode(workspace, make_episode(kind="video", seed=3))
    digest = save_snapshot(workspace, Snapshot(episodes=tuple(ids[:1])))
    root, other = str(workspace.root), str(tmp_path / "other")
    workspace.close()
    out = ["data", "export", "--workspace", root, "--lerobot"]
    assert main([*out, str(tmp_path / "one"), digest[:12]]) == 0
    assert main([*out, str(tmp_path / "all"), "all"]) == 0
    shown = capsys.readouterr()
    assert "1 episodes, 9 steps" in shown.out
    assert "2 episodes, 19 steps" in shown.out
    assert "left out: 1 videos" in shown.err
    assert main(["data", "export", "all", "--workspace", root]) == EXIT_USAGE
    again = ["data", "import", str(tmp_path / "all"), "--workspace", other]
    assert main(again) == 0
    assert "2 new, 0 damaged" in capsys.readouterr().out
    (tmp_path / "all/data/chunk-000/file-000.parquet").write_bytes(b"PAR1")
    assert main([*again, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [entry["episode"] for entry in told["damaged"]] == [0, 1]
