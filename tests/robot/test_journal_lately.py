"""What a coordinator reads to go on is enough, however long the journal."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_moves_laws import History, begin, happenings, laws, truths

from loopwright.robot.journal.account import account_of
from loopwright.robot.journal.fold import FleetState, fold
from loopwright.robot.journal.journal import Journal
from loopwright.robot.logic import Truth


def written(history: History, path: Path) -> Journal:
    """Return a journal of a history, written as a coordinator writes it."""
    journal, state = Journal(path), FleetState()
    for entry in history.entries:
        intent = state.intents.get(getattr(entry.event, "intent", ""))
        (same,) = journal.append([entry.event], task=intent.task if intent else None, durable=False)
        state.apply(same)
    return journal


@laws
@given(happenings, truths, st.integers(0, 3))
def test_a_state_of_late_events_is_the_state_of_all_with_the_old_ones_forgotten(
    story: list[tuple[Callable[[History, int], None], int]], truth: list[Truth], ended: int
) -> None:
    history = begin(truth, waited_s=10.0)
    for happening, pick in story:
        happening(history, pick)
    with tempfile.TemporaryDirectory() as folder:
        journal = written(history, Path(folder) / "journal.db")
        whole, lately = fold(journal.entries()), fold(journal.lately(ended), remembers=ended)
        assert lately.open_tasks == whole.open_tasks
        assert lately.robots == whole.robots
        assert (lately.stops, lately.held, lately.epoch) == (whole.stops, whole.held, whole.epoch)
        over = [t for t in whole.tasks.values() if t.status == "ended"]
        kept = [t for t in lately.tasks.values() if t.status == "ended"]
        assert len(kept) == min(ended, len(over))
        assert all(whole.tasks[t.id] == t for t in kept)
        assert lately.intents.keys() == {i.id for t in lately.tasks.values() for i in t.intents}
        forgetful = fold(journal.entries(), remembers=ended)
        assert forgetful.tasks == lately.tasks, "the one who was there remembers the same"
        assert forgetful.intents == lately.intents
        for task in whole.tasks.values():
            assert fold(journal.around(task.id)).tasks[task.id] == task
            beside = account_of(journal.beside(task.id), task.id)
            assert beside == account_of(journal.entries(), task.id)
        journal.close()


@pytest.mark.parametrize("ended", [0, 2])
def test_an_empty_journal_has_nothing_late(tmp_path: Path, ended: int) -> None:
    assert list(Journal(tmp_path / "journal.db").lately(ended)) == []
