"""Several processes at once: whatever the order, every effect happens exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from loopwright.core.errors import (
    ContractError,
    InvalidConfig,
    StaleChampion,
    StorageError,
    WorkspaceBusy,
)
from loopwright.core.stage import Cost, Receipt, StageResult, StageSpec
from loopwright.store.crashpoints import VARIABLE
from loopwright.store.ledger import Decision, Ledger
from loopwright.store.ledger import database as ledger_database

PREAMBLE = """
import os, sys
from pathlib import Path
from loopwright.core.errors import *
from loopwright.core.stage import *
from loopwright.store.ledger import Ledger
from loopwright.store.workspace import Workspace
root, number = Path(sys.argv[1]), int(sys.argv[2])
spec = StageSpec(name="fit", entry="a:b")
receipt = Receipt(key=spec.key, result=StageResult(facts={"loss": 0.5}),
                  cost=Cost(cpu_s=number, wall_s=0.0))
print("ready", flush=True)
sys.stdin.readline()
"""


def start(root: Path, code: str, number: int = 0, crash_at: str | None = None) -> subprocess.Popen:
    environment = {**os.environ, **({VARIABLE: crash_at} if crash_at else {})}
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code, str(root), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def race(root: Path, code: str, num_processes: int = 4) -> list[str]:
    """Let processes run ``code`` as much at the same moment as can be; return what they say."""
    processes = [start(root, code, number) for number in range(num_processes)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    words = [process.communicate()[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * num_processes
    return words


def test_many_may_make_the_ledger_at_once(tmp_path: Path) -> None:
    words = race(tmp_path, "Ledger(root / 'ledger.db').add_event('here', number=number); print(1)")
    assert words == ["1"] * 4
    ledger = Ledger(tmp_path / "ledger.db")
    assert sorted(event.data["number"] for event in ledger.events()) == [0, 1, 2, 3]
    ledger.close()


def test_many_may_make_the_workspace_but_one_holds_it(tmp_path: Path) -> None:
    code = """
try:
    workspace = Workspace.create(root / "ws", exclusive=True)
    print("held", flush=True)
    import time; time.sleep(2.0)
except WorkspaceBusy as error:
    print("busy")
"""
    assert sorted(race(tmp_path, code)) == ["busy"] * 3 + ["held"]


def test_of_many_who_commit_one_stage_one_has_an_effect(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.db").close()
    code = """
ledger = Ledger(root / "ledger.db")
attempt = ledger.begin_attempt(spec, owner=str(number))
try:
    print(attempt.epoch, ledger.commit(attempt, receipt).cost.cpu_s)
except StaleLease:
    print(attempt.epoch, "stale")
"""
    words = [word.split() for word in race(tmp_path, code)]
    ledger = Ledger(tmp_path / "ledger.db")
    [recorded] = ledger.receipts([StageSpec(name="fit", entry="a:b").key]).values()
    assert sorted(epoch for epoch, _ in words) == ["1", "2", "3", "4"]
    assert {said for _, said in words} <= {"stale", str(recorded.cost.cpu_s)}
    [winner] = ledger._database.rows("SELECT epoch FROM receipts")
    owners = [row.owner for row in ledger.attempts() if row.attempt.epoch == winner[0]]
    assert owners == [str(int(recorded.cost.cpu_s))]
    ledger.close()


def test_of_many_who_move_one_alias_one_succeeds(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.promote(alias="c", candidate="a", expected=None, decision_id="d", kind="genesis")
    code = """
ledger = Ledger(root / "ledger.db")
try:
    ledger.promote(alias="c", candidate=f"b{number}", expected="a", decision_id=f"d{number}",
                   gate_report="r")
    print("moved", number)
except StaleChampion:
    print("stale")
"""
    words = race(tmp_path, code)
    [moved] = [word for word in words if word != "stale"]
    assert ledger.champion("c") == "b" + moved.split()[1]
    assert len(ledger.promotions("c")) == 2
    ledger.close()


def test_one_decision_carried_out_by_many_is_one_promotion(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.promote(alias="c", candidate="a", expected=None, decision_id="d", kind="genesis")
    code = """
ledger = Ledger(root / "ledger.db")
print(ledger.promote(alias="c", candidate="b", expected="a", decision_id="d1",
                     gate_report="r").decided_at)
"""
    assert len(set(race(tmp_path, code))) == 1
    assert [d.candidate for d in ledger.promotions("c")] == ["a", "b"]
    ledger.close()


@pytest.mark.parametrize(
    ("crash_at", "kept"), [("ledger.before_commit:1", 0), ("ledger.after_commit:1", 1)]
)
def test_a_promotion_killed_at_its_commit_happened_or_did_not(
    tmp_path: Path, crash_at: str, kept: int
) -> None:
    """And is carried out exactly once when the engine tries again."""
    ledger = Ledger(tmp_path / "ledger.db")
    move = "alias='c', candidate='a', expected=None, decision_id='d', kind='genesis'"
    killed = start(tmp_path, f"Ledger(root / 'ledger.db').promote({move})", crash_at=crash_at)
    killed.communicate("go\n")
    assert killed.returncode == -signal.SIGKILL
    assert len(ledger.promotions("c")) == kept
    for _ in range(2):
        ledger.promote(alias="c", candidate="a", expected=None, decision_id="d", kind="genesis")
    assert len(ledger.promotions("c")) == 1
    ledger.close()


def test_a_writer_that_never_lets_go_is_named_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_database, "_BUSY_WAIT_S", 0.05)
    one, two = Ledger(tmp_path / "ledger.db"), Ledger(tmp_path / "ledger.db")
    with one._database.change():
        assert two.events() == []  # readers never wait
        with pytest.raises(WorkspaceBusy, match="locked by another process"):
            two.add_event("mine")
    two.add_event("mine")
    one.close()
    two.close()


def test_threads_may_share_a_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")

    def work(thread: int) -> None:
        for number in range(25):
            ledger.add_event("step", thread=thread, number=number)
            ledger.events()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    events = ledger.events(1000)
    for thread in range(4):
        mine = [e.data["number"] for e in events if e.data["thread"] == thread]
        assert mine == list(range(25))
    ledger.close()


def test_a_full_disk_refuses_a_transaction_whole(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.add_event("before")
    [(pages,)] = ledger._database.rows("PRAGMA page_count")
    ledger._database.rows(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageError, match="full"):
        ledger.add_event("too much", text="x" * 100_000)
    ledger.add_event("after")
    assert [event.name for event in ledger.events()] == ["before", "after"]
    ledger.close()


def test_an_error_inside_a_transaction_undoes_all_of_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")

    def half() -> None:
        with ledger._database.change() as connection:
            connection.execute("INSERT INTO events (time, name, data) VALUES (0, 'half', '{}')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert ledger.events() == []
    spec = StageSpec(name="fit", entry="a:b")
    result = Receipt(key=spec.key, result=StageResult(), cost=Cost(cpu_s=0, wall_s=0))
    ledger.commit(ledger.begin_attempt(spec, owner="test"), result)
    ledger.close()


_MEMORY = Path("/dev/shm")


class Alias(RuleBasedStateMachine):
    """Any sequence of decisions, repeated or late, leaves a history that fits together."""

    candidates = st.sampled_from("abcd")
    ids = st.sampled_from([f"d{n}" for n in range(8)])

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
        self.ledger = Ledger(Path(self.folder.name) / "ledger.db")
        self.model: list[str] = []
        self.first_words: dict[str, Decision] = {}

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    def decide(self, decision_id: str, do, *, moves_to: str | None) -> None:
        """Carry a decision out; a new one that is accepted extends the model."""
        try:
            decision = do()
        except (StaleChampion, ContractError, InvalidConfig):
            return
        known = self.first_words.setdefault(decision_id, decision)
        assert decision == known
        if decision is known and moves_to is not None:
            self.model.append(moves_to)

    @rule(candidate=candidates, decision_id=ids)
    def genesis(self, candidate: str, decision_id: str) -> None:
        self.decide(
            decision_id,
            lambda: self.ledger.promote(
                alias="c",
                candidate=candidate,
                expected=None,
                decision_id=decision_id,
                kind="genesis",
            ),
            moves_to=candidate,
        )

    @precondition(lambda self: self.model)
    @rule(
        candidate=candidates,
        expected=candidates,
        decision_id=ids,
        kind=st.sampled_from(["promotion", "rollback"]),
    )
    def move(self, candidate: str, expected: str, decision_id: str, kind) -> None:
        before = list(self.model)
        self.decide(
            decision_id,
            lambda: self.ledger.promote(
                alias="c",
                candidate=candidate,
                expected=expected,
                decision_id=decision_id,
                kind=kind,
                gate_report="r",
            ),
            moves_to=candidate,
        )
        if len(self.model) > len(before):
            assert before[-1] == expected != candidate
            assert kind != "rollback" or candidate in before

    @rule(candidate=candidates, decision_id=ids)
    def refuse(self, candidate: str, decision_id: str) -> None:
        expected = self.model[-1] if self.model else None
        self.decide(
            decision_id,
            lambda: self.ledger.refuse(
                alias="c", candidate=candidate, expected=expected, decision_id=decision_id
            ),
            moves_to=None,
        )

    @invariant()
    def history_fits_together(self) -> None:
        moves = self.ledger.promotions("c")
        assert [move.candidate for move in moves] == self.model
        assert self.ledger.champion("c") == (self.model[-1] if self.model else None)
        assert [move.champion_before for move in moves] == [None, *self.model][: len(moves)]
        decisions = self.ledger.decisions("c")
        assert len({d.id for d in decisions}) == len(decisions)
        assert {d.id: d for d in decisions} == self.first_words


TestAlias = Alias.TestCase
TestAlias.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
