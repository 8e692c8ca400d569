"""Choosing episodes: laws of queries, splits, merges and subtractions, on real recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from drawn_episodes import make_episode
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.episode import Annotation, Verdict
from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import Box
from loopwright.store.curate import Query, merge, select, snapshot_digests, split, subtract
from loopwright.store.episode_files import DamagedEpisode
from loopwright.store.episodes import write_episode
from loopwright.store.ledger import EpisodeRow
from loopwright.store.snapshots import Snapshot, save_snapshot
from loopwright.store.windows import WindowReader
from loopwright.store.workspace import Workspace


def verdict(episode: str, outcome="success", authority="verifier") -> Verdict:
    return Verdict(
        episode=episode,
        outcome=outcome,
        score=1.0,
        verifier=f"{authority}/1",
        evidence_digest="e",
        authority=authority,
    )


def index(workspace: Workspace, **changes) -> EpisodeRow:
    """Put an episode into the index only: most questions never open a file."""
    number = len(workspace.ledger.episode_ids())
    fields = {
        "id": f"{number:020x}",
        "digest": "d" * 64,
        "kind": "demo",
        "scenario": "drawer-open-v1",
        "seed": number,
        "start": {"x_m": number / 10},
        "candidate": None,
        "num_steps": 5,
    }
    row = EpisodeRow(**{**fields, **changes})
    workspace.ledger.add_episode(row)
    return row


def chosen(workspace: Workspace, **rules) -> list[str]:
    return list(select(workspace, Query(**rules)).episodes)


def test_what_is_named_is_asked_for_alone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workspace may hold a hundred thousand episodes that a snapshot of ten does not name."""
    named = Snapshot(episodes=tuple(index(workspace).id for _ in range(3)))
    digest = save_snapshot(workspace, named)

    def read_them_all(*args: object, **rules: object) -> None:
        raise AssertionError("every episode of the index was read")

    monkeypatch.setattr(type(workspace.ledger), "episodes", read_them_all)
    assert chosen(workspace, snapshots=(digest,)) == list(named.episodes)
    assert len(split(workspace, named, 0.5)) == 2
    with WindowReader(workspace, named.episodes) as reader:
        assert len(reader) == 15


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory):
    """Sixty episodes of twenty starts."""
    with Workspace.create(tmp_path_factory.mktemp("crowd") / "ws") as workspace:
        kinds = ("demo", "play", "attempt")
        for i in range(60):
            index(workspace, kind=kinds[i % 3], seed=i // 3, start={"x_m": (i // 3) / 10})
        yield workspace


def test_every_rule_narrows(workspace: Workspace) -> None:
    demo = index(workspace, start={"x_m": 0.1, "y_m": 0.0}).id
    far = index(workspace, start={"x_m": 0.9, "y_m": 0.0}).id
    play = index(workspace, kind="play").id
    tried = index(workspace, kind="attempt", candidate="c" * 64).id
    cut = index(workspace, censored="killed").id
    other = index(workspace, scenario="door-open-v1", start={}).id
    for episode, outcome in ((demo, "success"), (far, "failure"), (tried, "success")):
        workspace.ledger.add_verdict(verdict(episode, outcome))
    workspace.ledger.add_annotation(Annotation(episode=demo, label="blurry", author="ada"))

    assert set(chosen(workspace)) == {demo, far, play, tried, other}
    assert chosen(workspace, censored=True) == [cut]
    assert set(chosen(workspace, censored=None)) == {demo, far, play, tried, cut, other}
    assert chosen(workspace, kinds=("play", "attempt")) == [tried, play]
    assert chosen(workspace, scenarios=("door-open-v1",)) == [other]
    assert chosen(workspace, candidates=("c" * 64,)) == [tried]
    assert chosen(workspace, outcomes=("failure",)) == [far]
    assert set(chosen(workspace, outcomes=("success", "failure"))) == {demo, far, tried}
    assert set(chosen(workspace, outcomes=("unjudged",))) == {play, other}
    assert chosen(workspace, box=Box(low={"x_m": 0.0, "y_m": -1}, high={"x_m": 0.5, "y_m": 1})) == [
        demo
    ]
    assert chosen(workspace, labels=("blurry", "never")) == [demo]
    assert demo not in chosen(workspace, without_labels=("blurry",))
    assert far not in chosen(workspace, leave_out=(far,))
    assert chosen(workspace, limit=2) == chosen(workspace)[:2]


def test_labelling_changes_what_is_selected_and_nothing_that_is_recorded(
    workspace: Workspace,
) -> None:
    row = write_episode(workspace, make_episode(num_steps=3))
    files = {p: p.read_bytes() for p in workspace.episodes_folder.rglob("*") if p.is_file()}
    assert chosen(workspace, outcomes=("success",)) == []
    workspace.ledger.add_verdict(verdict(row.id, "success", "operator"))
    assert chosen(workspace, outcomes=("success",)) == [row.id]
    workspace.ledger.add_verdict(verdict(row.id, "failure", "verifier"))
    assert chosen(workspace, outcomes=("success",)) == [], "a verifier outranks an operator"
    note = Annotation(episode=row.id, label="blurry", author="ada")
    workspace.ledger.add_annotation(note)
    assert chosen(workspace, labels=("blurry",)) == [row.id]
    workspace.ledger.add_annotation(replace(note, withdrawn=True))
    assert chosen(workspace, labels=("blurry",)) == []
    assert {p: p.read_bytes() for p in files} == files


def test_bodies_are_read_from_the_files(workspace: Workspace) -> None:
    arm = write_episode(workspace, make_episode(num_steps=2, seed=1)).id
    hand = write_episode(workspace, make_episode(num_steps=2, seed=2, body="hand")).id
    assert chosen(workspace, bodies=("hand",)) == [hand]
    assert set(chosen(workspace, bodies=("hand", "robot"))) == {arm, hand}
    (workspace.episodes_folder / arm / "episode.json").write_text("{}")
    with pytest.raises(DamagedEpisode):
        chosen(workspace, bodies=("hand",))


def test_snapshots_to_choose_from_give_the_order_and_forgotten_episodes_are_left_out(
    workspace: Workspace,
) -> None:
    a, b, c = (index(workspace).id for _ in range(3))
    first = save_snapshot(workspace, Snapshot(episodes=(c, "gone", a)))
    second = save_snapshot(workspace, Snapshot(episodes=(a, b)))
    assert chosen(workspace, snapshots=(first,)) == [c, a]
    assert chosen(workspace, snapshots=(first, second)) == [c, a, b]
    assert set(snapshot_digests(workspace)) == {first, second}


def test_the_rule_tells_queries_apart_and_is_part_of_the_digest(workspace: Workspace) -> None:
    index(workspace)
    queries = [
        Query(),
        Query(censored=None),
        Query(kinds=("demo",)),
        Query(limit=1),
        Query(limit=7),
        Query(without_labels=("x",)),
        Query(box=Box(low={"x_m": 0.0}, high={"x_m": 1.0})),
        Query(box=Box(low={"x_m": 0.0}, high={"x_m": 1.0000001})),
        Query(leave_out=("1", "2")),
        Query(leave_out=("1", "2", "3", "4")),
        Query(leave_out=("1", "2", "3", "5")),
    ]
    snapshots = [select(workspace, query) for query in queries]
    assert len({s.label_filter for s in snapshots}) == len(queries)
    assert len({s.digest for s in snapshots}) == len(queries)
    assert snapshots[2].label_filter == "kind demo; whole"
    assert select(workspace, Query(limit=1)).digest == snapshots[3].digest


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"kinds": ("demos",)}, "'demos'; expected one of demo, play, video, attempt"),
        ({"outcomes": ("won",)}, "'won'"),
        ({"limit": 0}, "at least 1"),
        ({"labels": ("x",), "without_labels": ("x",)}, "both asked for and excluded"),
    ],
)
def test_a_query_that_nothing_can_match_is_refused(rules: dict, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Query(**rules)


def test_a_box_over_an_unknown_parameter_is_refused(crowd: Workspace) -> None:
    with pytest.raises(InvalidConfig, match=r"\['z_m'\]; known: \['x_m'\]"):
        select(crowd, Query(box=Box(low={"z_m": 0.0}, high={"z_m": 1.0})))


@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 2**31), count=st.integers(4, 60))
def test_a_split_is_a_partition_by_start(
    crowd: Workspace, share: float, seed: int, count: int
) -> None:
    whole = select(crowd, Query(limit=count))
    starts = {row.id: row.start["x_m"] for row in crowd.ledger.episodes()}
    first, second = split(crowd, whole, share, seed)
    assert first.episodes
    assert second.episodes
    assert sorted(first.episodes + second.episodes) == sorted(whole.episodes)
    assert {starts[e] for e in first.episodes}.isdisjoint({starts[e] for e in second.episodes})
    for part in (first, second):
        order = [whole.episodes.index(e) for e in part.episodes]
        assert order == sorted(order)
    sides = len({starts[e] for e in first.episodes})
    assert abs(sides - share * len({starts[e] for e in whole.episodes})) <= 1
    assert split(crowd, whole, share, seed) == (first, second)
    assert first.digest != second.digest


def test_another_seed_gives_another_split(crowd: Workspace) -> None:
    whole = select(crowd, Query())
    assert len({split(crowd, whole, 0.5, seed)[0].episodes for seed in range(8)}) > 1


def test_two_seeds_with_the_same_start_stay_together(workspace: Workspace) -> None:
    for seed in range(8):
        index(workspace, seed=seed, start={"x_m": float(seed % 2)})
    first, second = split(workspace, select(workspace, Query()), 0.5)
    rows = {row.id: row for row in workspace.ledger.episodes()}
    assert len({rows[e].start["x_m"] for e in first.episodes}) == 1
    assert len(first.episodes) == len(second.episodes) == 4


def test_a_split_that_cannot_be_is_refused(workspace: Workspace) -> None:
    lone = Snapshot(episodes=(index(workspace).id,))
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(InvalidConfig, match="share"):
            split(workspace, lone, share)
    with pytest.raises(InvalidConfig, match="at least two"):
        split(workspace, lone, 0.5)
    with pytest.raises(InvalidConfig, match="not on record, gone first"):
        split(workspace, Snapshot(episodes=("gone",)), 0.5)


snapshots = st.builds(
    Snapshot,
    episodes=st.lists(st.sampled_from("abcdefgh"), unique=True).map(tuple),
    label_filter=st.sampled_from([None, "success"]),
)


@given(a=snapshots, b=snapshots, c=snapshots)
def test_merging_and_subtracting_obey_the_laws_of_sets(
    a: Snapshot, b: Snapshot, c: Snapshot
) -> None:
    both = merge(a, b)
    assert set(both.episodes) == set(a.episodes) | set(b.episodes)
    assert both.episodes[: len(a.episodes)] == a.episodes
    assert merge(a) == merge(a, a) == a
    assert merge(both, b) == merge(both, a) == both
    assert merge(merge(a, b), c).episodes == merge(a, b, c).episodes
    left = subtract(a, b)
    assert list(left.episodes) == [e for e in a.episodes if e not in b.episodes]
    assert subtract(left, b) == left
    assert set(merge(left, b).episodes) == set(both.episodes)
    if left.episodes != a.episodes:
        assert left.digest != a.digest


def test_snapshots_of_different_split_seeds_are_not_mixed() -> None:
    with pytest.raises(InvalidConfig, match=r"split seeds \[0, 1\]"):
        merge(Snapshot(episodes=("a",)), Snapshot(episodes=("b",), split_seed=1))
    with pytest.raises(InvalidConfig, match="no snapshot to merge"):
        merge()


def test_a_large_selection_asks_the_ledger_a_few_times_and_opens_no_file(
    crowd: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    rows = crowd.ledger._database.rows
    monkeypatch.setattr(
        crowd.ledger._database, "rows", lambda query, *a: (asked.append(query), rows(query, *a))[1]
    )
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was opened"))
    query = Query(outcomes=("unjudged",), without_labels=("x",), kinds=("demo", "play"))
    assert len(select(crowd, query).episodes) == 40
    assert len(asked) == 3
