from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.episode import Verdict
from loopwright.core.errors import (
    ContractError,
    DamagedData,
    InvalidConfig,
    StaleChampion,
    StaleLease,
    UnknownName,
    WorkspaceError,
)
from loopwright.core.stage import Cost, Receipt, StageResult, StageSpec
from loopwright.store.ledger import EpisodeRow, Ledger
from loopwright.store.process import ProcessIdentity

SPEC = StageSpec(name="fit", entry="loopwright.train:fit", params={"steps": 3})


def receipt(spec: StageSpec = SPEC, *, loss: float = 0.5, cpu_s: float = 1.0) -> Receipt:
    result = StageResult(outputs={"candidate": "a" * 64}, facts={"loss": loss})
    return Receipt(key=spec.key, result=result, cost=Cost(cpu_s=cpu_s, wall_s=2.0))


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


def test_a_receipt_survives_reopening(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.receipt(SPEC.key) is None
    ledger.commit(ledger.begin_attempt(SPEC, owner="test"), receipt())
    ledger.close()
    again = Ledger(tmp_path / "ledger.db")
    assert again.receipt(SPEC.key) == receipt()
    assert again.receipts([SPEC.key, "0" * 64]) == {SPEC.key: receipt()}
    again.close()


def test_every_commit_is_synced_to_the_disk(ledger: Ledger) -> None:
    assert ledger._database.rows("PRAGMA journal_mode") == [("wal",)]
    assert ledger._database.rows("PRAGMA synchronous") == [(2,)]


def test_only_the_newest_attempt_commits(ledger: Ledger) -> None:
    old = ledger.begin_attempt(SPEC, owner="first engine")
    new = ledger.begin_attempt(SPEC, owner="second engine")
    with pytest.raises(StaleLease, match="attempt 2 owns it"):
        ledger.commit(old, receipt())
    assert ledger.receipt(SPEC.key) is None
    ledger.commit(new, receipt())
    assert ledger.receipt(SPEC.key) == receipt()


def test_the_same_result_again_keeps_the_first_receipt(ledger: Ledger) -> None:
    ledger.commit(ledger.begin_attempt(SPEC, owner="test"), receipt(cpu_s=1.0))
    again = ledger.begin_attempt(SPEC, owner="makes a damaged object anew")
    kept = ledger.commit(again, receipt(cpu_s=9.0))
    assert kept.cost.cpu_s == 1.0
    assert [row.outcome for row in ledger.attempts(SPEC.key)] == ["committed", "committed"]


def test_another_result_for_the_same_key_is_refused(ledger: Ledger) -> None:
    ledger.commit(ledger.begin_attempt(SPEC, owner="test"), receipt(loss=0.5))
    with pytest.raises(StaleLease, match="same result"):
        ledger.commit(ledger.begin_attempt(SPEC, owner="test"), receipt(loss=0.6))
    assert ledger.receipt(SPEC.key) == receipt(loss=0.5)


def test_a_receipt_of_another_stage_is_refused(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt(SPEC, owner="test")
    with pytest.raises(InvalidConfig):
        ledger.commit(attempt, receipt(replace(SPEC, seed=1)))


def test_a_failed_attempt_is_remembered_with_its_message(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt(SPEC, owner="test")
    ledger.fail(attempt, "ValueError: no")
    [row] = ledger.attempts(SPEC.key)
    assert (row.outcome, row.message) == ("failed", "ValueError: no")
    assert ledger.begin_attempt(SPEC, owner="test").epoch == 2


def test_orphans_are_found_by_start_time_never_by_pid_alone(ledger: Ledger) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        attempt = ledger.begin_attempt(SPEC, owner="an engine that dies")
        ledger.note_process(attempt, child.pid)
        [orphan] = ledger.live_children()
        assert (orphan.attempt, orphan.process.pid) == (attempt, child.pid)
        stranger = replace(orphan.process, started=ProcessIdentity.of(os.getpid()).started)
        assert not stranger.is_alive()  # same pid, another process
        assert not replace(orphan.process, boot_id="an earlier boot").is_alive()
    finally:
        child.kill()
        child.wait()
    assert ledger.live_children() == []


def test_a_child_of_an_ended_attempt_is_no_orphan(ledger: Ledger) -> None:
    attempt = ledger.begin_attempt(SPEC, owner="test")
    ledger.note_process(attempt, os.getpid())
    assert len(ledger.live_children()) == 1
    ledger.fail(attempt, "cancelled")
    assert ledger.live_children() == []


def episode(number: int, **changes: object) -> EpisodeRow:
    row = EpisodeRow(
        id=f"{number:020x}",
        digest=f"{number:064x}",
        kind="attempt",
        scenario="drawer-open-v1",
        seed=number,
        start={"x_m": 0.1},
        candidate="c" * 64,
        num_steps=50,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def test_episodes_are_indexed_once_and_never_change(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.add_episode(episode(1))
    assert ledger.episodes() == [episode(1)]
    with pytest.raises(DamagedData, match="never changes"):
        ledger.add_episode(episode(1, digest="f" * 64))


def test_episodes_are_found_by_what_caused_them(ledger: Ledger) -> None:
    rows = [
        episode(3),
        episode(2, kind="demo", candidate=None),
        episode(1, scenario="reach-v1", candidate="d" * 64),
        episode(4, censored="the recorder died"),
    ]
    for row in rows:
        ledger.add_episode(row)
    assert ledger.episodes(scenario="drawer-open-v1", kind="attempt") == [rows[0]]
    assert ledger.episodes(candidate="d" * 64) == [rows[2]]
    assert ledger.episodes(kind="attempt", candidate="c" * 64, censored=True) == [rows[0], rows[3]]
    assert len(ledger.episodes()) == 3


@given(st.lists(st.integers(0, 9), max_size=12), st.lists(st.text(max_size=5), max_size=3))
@settings(max_examples=40, deadline=None)
def test_episodes_are_found_by_id_in_the_order_asked_for(
    numbers: list[int], strange: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.db")
        rows = {number: episode(number) for number in range(8)}
        rows[3] = episode(3, censored="the recorder died")
        for row in rows.values():
            ledger.add_episode(row)
        found = ledger.episodes_by_id([*strange, *(episode(n).id for n in numbers)])
        ledger.close()
    assert list(found.values()) == [rows[n] for n in dict.fromkeys(numbers) if n in rows]
    assert list(found) == [row.id for row in found.values()]


def verdict(outcome: str, authority: str = "verifier", score: float = 0.0) -> Verdict:
    return Verdict(
        episode="e1",
        outcome=outcome,  # type: ignore[arg-type]
        score=score,
        verifier="state/1",
        evidence_digest="0" * 64,
        authority=authority,  # type: ignore[arg-type]
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["verifier", "judge", "operator"]),
            st.sampled_from(["success", "failure", "unknown"]),
        ),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_highest_authority_stands_and_its_newest_word(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, str]]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("law") / "ledger.db")
    for authority, outcome in said:
        ledger.add_verdict(verdict(outcome, authority))
        ledger.add_verdict(verdict(outcome, authority))  # idempotent
    expected = None
    for wanted in ("operator", "judge", "verifier"):
        words = [outcome for authority, outcome in said if authority == wanted]
        expected = verdict(words[-1], wanted) if words else expected
    assert ledger.standing_verdict("e1") == expected
    for authority in ("verifier", "judge", "operator"):
        kept = [v.outcome for v in ledger.verdicts("e1") if v.authority == authority]
        words = [outcome for a, outcome in said if a == authority]
        assert kept == [w for i, w in enumerate(words) if i == 0 or words[i - 1] != w]
    ledger.close()


def test_standing_verdicts_in_bulk(ledger: Ledger) -> None:
    ledger.add_verdict(verdict("success"))
    ledger.add_verdict(replace(verdict("failure"), episode="e2"))
    standing = ledger.standing_verdicts(["e1", "e2", "e3"])
    assert {e: v.outcome for e, v in standing.items()} == {"e1": "success", "e2": "failure"}


def test_a_seed_counts_once_per_purpose(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.use_seeds("sealed", "reach-v1", [20_000_000, 20_000_001], "run a, look 1")
    ledger.use_seeds("sealed", "reach-v1", [20_000_001], "run a, look 2")
    ledger.use_seeds("gate", "reach-v1", [10_000_000], "run a, look 1")
    assert ledger.seed_uses("sealed", "reach-v1") == {20_000_000: 1, 20_000_001: 2}
    assert ledger.seed_uses("sealed", "drawer-open-v1") == {}
    assert ledger.seed_purposes("sealed", "reach-v1") == {
        20_000_000: ("run a, look 1",),
        20_000_001: ("run a, look 1", "run a, look 2"),
    }


def test_the_same_recipe_and_configuration_is_the_same_run(ledger: Ledger) -> None:
    one = ledger.begin_run("demo", {"rounds": 3})
    assert ledger.begin_run("demo", {"rounds": 3}) == one
    assert ledger.begin_run("demo", {"rounds": 4}) != one
    assert [(r.recipe, r.config) for r in ledger.runs()] == [
        ("demo", {"rounds": 3}),
        ("demo", {"rounds": 4}),
    ]
    with pytest.raises(UnknownName, match="did you mean"):
        ledger.run(one[:-1] + "x")


def test_rounds_are_appended_in_order_and_never_change(ledger: Ledger) -> None:
    run = ledger.begin_run("demo", {})
    for number in (0, 1, 0, 1):
        ledger.record_round(run, number, {"success": number / 2})
    assert [r.record for r in ledger.rounds(run)] == [{"success": 0.0}, {"success": 0.5}]
    with pytest.raises(ContractError, match="never changes"):
        ledger.record_round(run, 1, {"success": 1.0})
    with pytest.raises(ContractError, match="next one is 2"):
        ledger.record_round(run, 3, {})
    with pytest.raises(UnknownName):
        ledger.record_round("nothing", 0, {})


def test_events_are_kept_in_order(ledger: Ledger) -> None:
    for number in range(5):
        ledger.add_event("round finished", number=number)
    assert [e.data["number"] for e in ledger.events(limit=3)] == [2, 3, 4]


def test_a_decision_is_carried_out_exactly_once(ledger: Ledger) -> None:
    first = ledger.promote(
        alias="champion", candidate="a", expected=None, decision_id="d0", kind="genesis"
    )
    move = dict(alias="champion", candidate="b", expected="a", decision_id="d1", gate_report="r")
    done = ledger.promote(**move)
    assert ledger.champion("champion") == "b"
    back = ledger.promote(
        alias="champion", candidate="a", expected="b", decision_id="d2", kind="rollback"
    )
    assert ledger.promote(**move) == done  # a repeated message after more has happened
    assert ledger.champion("champion") == "a"
    assert ledger.promotions("champion") == [first, done, back]
    assert ledger.champion("other") is None


def test_a_decision_against_a_former_champion_is_stale(ledger: Ledger) -> None:
    ledger.promote(alias="c", candidate="a", expected=None, decision_id="d0", kind="genesis")
    ledger.promote(alias="c", candidate="b", expected="a", decision_id="d1", gate_report="r")
    with pytest.raises(StaleChampion, match="points to b"):
        ledger.promote(alias="c", candidate="x", expected="a", decision_id="d2", gate_report="r")
    with pytest.raises(StaleChampion):
        ledger.promote(alias="c", candidate="x", expected=None, decision_id="d3", kind="genesis")
    assert ledger.champion("c") == "b"


def test_one_decision_id_stands_for_one_decision(ledger: Ledger) -> None:
    ledger.promote(alias="c", candidate="a", expected=None, decision_id="d0", kind="genesis")
    refusal = dict(alias="c", candidate="b", expected="a", decision_id="d1", reason="no gain")
    assert ledger.refuse(**refusal) == ledger.refuse(**refusal)
    with pytest.raises(ContractError, match="refusal"):
        ledger.promote(alias="c", candidate="b", expected="a", decision_id="d1", gate_report="r")
    assert ledger.champion("c") == "a"
    assert [d.kind for d in ledger.decisions("c")] == ["genesis", "refusal"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "genesis"}, "genesis"),
        ({"expected": None}, "genesis"),
        ({"gate_report": None}, "report"),
        ({"candidate": "a"}, "already"),
        ({"kind": "rollback"}, "never was"),
    ],
)
def test_a_move_that_is_none_is_refused(ledger: Ledger, changes: dict, words: str) -> None:
    ledger.promote(alias="c", candidate="a", expected=None, decision_id="d0", kind="genesis")
    move = dict(alias="c", candidate="b", expected="a", decision_id="d1", gate_report="r")
    with pytest.raises(InvalidConfig, match=words):
        ledger.promote(**{**move, **changes})
    assert ledger.champion("c") == "a"


def test_a_newer_ledger_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(WorkspaceError, match="upgrade Loopwright"):
        Ledger(path)


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (name)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(WorkspaceError, match="no ledger"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"these are not the bytes you look for" * 100)
    with pytest.raises(DamagedData, match=r"ledger\.db is damaged"):
        Ledger(path)


@pytest.mark.parametrize(
    ("before", "after"), [(b'"loss":0.5', b'"loss":0.6'), (b'"facts"', b'"facts}')]
)
def test_a_changed_byte_in_a_receipt_is_noticed(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    ledger.commit(ledger.begin_attempt(SPEC, owner="test"), receipt())
    ledger.close()
    path.write_bytes(path.read_bytes().replace(before, after))
    again = Ledger(path)
    with pytest.raises(DamagedData, match=SPEC.key):
        again.receipt(SPEC.key)
    again.close()


def look_everywhere(path: Path) -> None:
    ledger = Ledger(path)
    try:
        ledger.receipts([SPEC.key])
        ledger.attempts()
        ledger.episodes()
        ledger.runs()
        ledger.events()
    finally:
        ledger.close()


def test_a_truncated_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    for number in range(40):
        ledger.add_episode(episode(number))
        ledger.add_event("noted", text="x" * 500)
    ledger.close()
    data = path.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DamagedData, match=r"ledger\.db is damaged"):
            look_everywhere(path)
