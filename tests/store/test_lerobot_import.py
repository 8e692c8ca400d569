from __future__ import annotations

import json
import os
from pathlib import Path

import lerobot_foreign as foreign
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import DamagedData, InvalidConfig, LoopwrightError
from loopwright.store.episodes import read_episode
from loopwright.store.exchange import lerobot_source
from loopwright.store.exchange.lerobot_import import Imported, import_lerobot
from loopwright.store.workspace import Workspace

FORMS = [("v3.0", "video"), ("v2.1", "video"), ("v3.0", "image"), ("v2.1", "image")]


@pytest.mark.parametrize(("version", "images"), FORMS)
def test_what_others_wrote_is_what_we_read(
    version: str, images: str, workspace: Workspace, tmp_path: Path
) -> None:
    folder = foreign.write_dataset(tmp_path / "push T", version, images=images)
    done = import_lerobot(folder, workspace)
    assert done.damaged == ()
    assert (done.scenario, done.added, done.steps) == ("lerobot/push_T", 3, sum(foreign.LENGTHS))
    for index, identity in enumerate(done.episodes):
        check_episode(workspace, identity, index)
    outcomes = [workspace.ledger.standing_verdict(i) for i in done.episodes]
    assert [(v.outcome, v.authority) for v in outcomes if v] == [
        ("success", "operator"),
        ("success", "operator"),
        ("failure", "operator"),
    ]


def check_episode(workspace: Workspace, identity: str, index: int) -> None:
    episode, length = read_episode(workspace, identity), foreign.LENGTHS[index]
    header, interface = episode.header, episode.header.interface
    assert (header.kind, header.seed, header.body) == ("demo", index, "so100")
    assert header.instruction == foreign.TASKS[index % 2]
    assert interface.proprio.names == ("pan", "lift", "grip")
    assert interface.action.names == ("action_0", "action_1"), "doubled names cannot be kept"
    assert interface.rate_hz == foreign.FPS
    np.testing.assert_array_equal(episode.proprio, foreign.state(index, length))
    np.testing.assert_array_equal(episode.applied, foreign.action(index, length))
    np.testing.assert_array_equal(episode.requested, episode.applied)
    np.testing.assert_array_equal(episode.time_s, np.arange(length) / foreign.FPS)
    height, width = foreign.SIZE_PX
    images = episode.images["top_view"]
    assert images.shape == (length, height + 1, width + 1, 3)
    wanted = foreign.frames(index, length)
    assert psnr_db(images[:, :height, :width], wanted) > 35
    assert psnr_db(images[:, -1], images[:, -2]) > 30, "the edge is repeated, not black"


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / (1e-9 + np.mean((one.astype(float) - other) ** 2))))


def test_ranges_hold_every_number_and_changes_are_told(
    workspace: Workspace, tmp_path: Path
) -> None:
    done = import_lerobot(foreign.write_dataset(tmp_path / "d", "v3.0"), workspace)
    episodes = [read_episode(workspace, i) for i in done.episodes]
    interface = episodes[0].header.interface
    for spec, part in ((interface.proprio, "proprio"), (interface.action, "applied")):
        values = np.concatenate([getattr(e, part) for e in episodes])
        np.testing.assert_array_equal(values.min(0), spec.low)
        np.testing.assert_array_equal(values.max(0), spec.high)
    told = " ".join(done.notes)
    assert "33x47" in told
    assert "'top_view'" in told
    assert "observation.effort" in told


def test_importing_again_changes_nothing_and_growth_adds(
    workspace: Workspace, tmp_path: Path
) -> None:
    short = foreign.write_dataset(tmp_path / "1/robot", "v3.0", lengths=(12, 7))
    longer = foreign.write_dataset(tmp_path / "2/robot", "v3.0", lengths=(12, 7, 9))
    first = import_lerobot(short, workspace)
    digests = {row.id: row.digest for row in workspace.ledger.episodes()}
    again = import_lerobot(short, workspace)
    assert (again.added, again.episodes) == (0, first.episodes)
    assert {row.id: row.digest for row in workspace.ledger.episodes()} == digests
    assert len(workspace.ledger.verdicts(first.episodes[0])) == 1
    grown = import_lerobot(longer, workspace)
    assert grown.episodes[:2] == first.episodes
    assert grown.added == 1
    # The dataset calls the second one a success by now: the same recording, a new verdict.
    verdicts = workspace.ledger.verdicts(first.episodes[1])
    assert [verdict.outcome for verdict in verdicts] == ["failure", "success"]
    interfaces = {
        json.dumps(read_episode(workspace, i).header.interface.to_json()) for i in grown.episodes
    }
    assert len(interfaces) == 1, "old and new episodes must train together"


def test_damaged_episodes_are_named_and_the_others_imported(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v2.1", lengths=(8, 8, 8, 8, 8, 8))
    data, films = folder / "data/chunk-000", folder / f"videos/chunk-000/{foreign.CAMERA}"
    table = data / "episode_000000.parquet"
    table.write_bytes(table.read_bytes()[:-200])
    (data / "episode_000001.parquet").unlink()
    foreign.write_film(films / "episode_000002.mp4", foreign.frames(2, 5))
    film = films / "episode_000003.mp4"
    film.write_bytes(film.read_bytes()[:300])
    rows = pq.read_table(data / "episode_000004.parquet")
    broken = foreign.state(4, 8)
    broken[3, 1] = np.nan
    rows = rows.set_column(0, "observation.state", pa.array(list(broken)))
    pq.write_table(rows, data / "episode_000004.parquet")
    done = import_lerobot(folder, workspace)
    assert [d.episode for d in done.damaged] == [0, 1, 2, 3, 4]
    reasons = [d.reason for d in done.damaged]
    assert "episode_000000.parquet is no readable Parquet file" in reasons[0]
    assert "episode_000001.parquet is missing" in reasons[1]
    assert "ends after 5 of 8 frames" in reasons[2]
    assert "episode_000003.mp4 cannot be decoded" in reasons[3]
    assert "observation.state is not finite in row 3" in reasons[4]
    check_only_whole(workspace, done, count=1)


def check_only_whole(workspace: Workspace, done: Imported, *, count: int) -> None:
    assert len(done.episodes) == count
    assert {row.id for row in workspace.ledger.episodes(censored=True)} == set(done.episodes)
    for identity in done.episodes:
        read_episode(workspace, identity)
    recordings = workspace.staging_folder / "recordings"
    assert not recordings.exists() or list(recordings.iterdir()) == []


LEAVING = [
    "../../secret/chunk-{episode_chunk:03d}.parquet",
    "/etc/passwd",
    "data/../../../{episode_index}.parquet",
]
HOSTILE_TEMPLATES = [
    "data/{episode_index.__class__}.parquet",
    "data/{episode_index:999999999d}.parquet",
    "data/{0}.parquet",
    "data/{episode_index!r:>99999}",
    7,
    "x" * 5000,
    "data/{",
]


@pytest.mark.parametrize("template", LEAVING)
def test_no_path_leaves_the_dataset(template: str, workspace: Workspace, tmp_path: Path) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v2.1")
    foreign.edit_info(folder, data_path=template)
    done = import_lerobot(folder, workspace)
    assert len(done.damaged) == 3
    assert all("leads out of" in entry.reason for entry in done.damaged)
    check_only_whole(workspace, done, count=0)


def test_no_link_leaves_the_dataset(workspace: Workspace, tmp_path: Path) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v2.1")
    film = folder / f"videos/chunk-000/{foreign.CAMERA}/episode_000001.mp4"
    os.rename(film, tmp_path / "outside.mp4")
    film.symlink_to(tmp_path / "outside.mp4")
    done = import_lerobot(folder, workspace)
    assert [(d.episode, "leads out of" in d.reason) for d in done.damaged] == [(1, True)]
    check_only_whole(workspace, done, count=2)


@pytest.mark.parametrize("template", HOSTILE_TEMPLATES)
def test_hostile_templates_are_refused(
    template: object, workspace: Workspace, tmp_path: Path
) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v2.1")
    foreign.edit_info(folder, data_path=template)
    with pytest.raises(DamagedData, match="template"):
        import_lerobot(folder, workspace)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v1.6"}, "version 'v1.6'"),
        ({"codebase_version": ["v3.0"]}, "version"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": 1e300}, "fps"),
        ({"features": []}, "features"),
        ({"features": {"action": {"dtype": "float32", "shape": [10**6]}}}, "numbers a step"),
        ({"features": {"action": {"dtype": "float32", "shape": [-1]}}}, "shape of action"),
        ({"features": {"a/b": {"dtype": "float32", "shape": [1]}}}, "no usable name"),
        (
            {"features": {"cam": {"dtype": "video", "shape": [10**6, 10**6, 3], "names": None}}},
            "three sides",
        ),
        ({"features": {"observation.state": {"dtype": "float32", "shape": [1]}}}, "need actions"),
        ({"chunks_size": 10**30}, "chunks_size"),
        ({"video_path": None}, "template"),
    ],
)
def test_impossible_descriptions_are_refused(
    changes: dict, message: str, workspace: Workspace, tmp_path: Path
) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v3.0")
    foreign.edit_info(folder, **changes)
    with pytest.raises((DamagedData, InvalidConfig), match=message):
        import_lerobot(folder, workspace)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{}", "null", '"v3.0"', "\x00\xff", "[1]"])
def test_a_description_that_is_none_is_refused(
    text: str, workspace: Workspace, tmp_path: Path
) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v3.0")
    (folder / "meta/info.json").write_text(text)
    with pytest.raises(LoopwrightError, match=r"info\.json"):
        import_lerobot(folder, workspace)


@pytest.mark.parametrize(
    ("limit", "message"),
    [("MAX_ROWS", "claims 100000 rows"), ("MAX_TABLE_BYTES", "unfolds to more than 99999 bytes")],
)
def test_a_file_that_unfolds_to_too_much_is_not_read(
    limit: str, message: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v2.1")
    rows = pa.table({"action": np.zeros(100_000, np.float32)})
    path = folder / "data/chunk-000/episode_000000.parquet"
    pq.write_table(rows, path)
    assert path.stat().st_size < 2_000
    monkeypatch.setattr(lerobot_source, limit, 99_999)  # the real ones would cost seconds here
    done = import_lerobot(folder, workspace)
    assert [d.episode for d in done.damaged] == [0]
    assert message in done.damaged[0].reason
    check_only_whole(workspace, done, count=2)


def test_one_damaged_list_of_episodes_spares_the_others(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v2.1")
    path = folder / "meta/episodes.jsonl"
    lines = path.read_text().splitlines()
    strange = ["{", "7", json.dumps({"episode_index": -4, "length": 3}), lines[0]]
    path.write_text("\n".join([*lines, *strange]))
    done = import_lerobot(folder, workspace)
    assert len(done.damaged) == 4
    assert {d.episode for d in done.damaged} == {None, -4, 0}
    check_only_whole(workspace, done, count=3)


@pytest.mark.parametrize(("version", "images"), FORMS)
def test_every_file_damaged_anywhere_gives_a_typed_error_or_a_damaged_episode(
    version: str, images: str, workspace: Workspace, tmp_path: Path
) -> None:
    folder = foreign.write_dataset(tmp_path / "d", version, lengths=(3, 2), images=images)
    rng = np.random.default_rng(0)
    harms = ("cut", "flip", "noise", "noise", "noise", "empty", "gone")
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    refused = 0
    for path in paths:
        whole = path.read_bytes()
        for harm in harms:
            damage(path, whole, harm, rng)
            identities = imported_if_readable(folder, workspace, f"s/{path.name}-{harm}")
            refused += not identities
            for identity in identities:
                read_episode(workspace, identity)
            path.write_bytes(whole)
    assert refused > len(paths)  # a file that is empty or gone is never worked around


def imported_if_readable(folder: Path, workspace: Workspace, scenario: str) -> tuple[str, ...]:
    try:
        return import_lerobot(folder, workspace, scenario=scenario).episodes
    except LoopwrightError as error:
        named = str(folder) in str(error)
    assert named, "the message must name the file"
    return ()


def damage(path: Path, whole: bytes, harm: str, rng: np.random.Generator) -> None:
    places = rng.integers(len(whole), size=1 if harm == "flip" else 5)
    changed = bytearray(whole)
    for place in places:
        changed[place] ^= int(rng.integers(1, 256))
    data = {"cut": whole[: places[0]], "flip": changed, "noise": changed}
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(data.get(harm, b""))


def test_a_data_file_without_its_images_is_named(workspace: Workspace, tmp_path: Path) -> None:
    folder = foreign.write_dataset(tmp_path / "d", "v2.1", images="image")
    path = folder / "data/chunk-000/episode_000001.parquet"
    pq.write_table(pq.read_table(path).drop_columns([foreign.CAMERA]), path)
    done = import_lerobot(folder, workspace)
    assert [(d.episode, "lacks the images" in d.reason) for d in done.damaged] == [(1, True)]
    check_only_whole(workspace, done, count=2)
