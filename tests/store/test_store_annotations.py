"""What people note about an episode is added beside it and never changes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from loopwright.core.episode import Annotation
from loopwright.core.errors import InvalidConfig
from loopwright.store.ledger import Ledger
from loopwright.store.ledger.database import _VERSION_1


def note(text: str, **changes) -> Annotation:
    fields = {"episode": "e1", "label": "intervention", "author": "operator/ada", "end_step": 9}
    return Annotation(**{**fields, "text": text, **changes})


def test_the_newest_of_a_place_stands_and_can_be_withdrawn(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    first, better, other = note("she pushed"), note("she lifted"), note("late", begin_step=4)
    for annotation in (first, other, better, note("", episode="e2")):
        ledger.add_annotation(annotation)
    assert ledger.annotations(["e1"]) == {"e1": [other, better]}
    ledger.add_annotation(note("", withdrawn=True))
    assert ledger.annotations(["e1", "e3"]) == {"e1": [other]}
    ledger.close()


def test_a_ledger_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as connection:
        for statement in _VERSION_1:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {0x4C4F4F50}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    ledger = Ledger(path)
    ledger.add_annotation(note("kept"))
    assert ledger.annotations(["e1"]) == {"e1": [note("kept")]}
    ledger.close()


@pytest.mark.parametrize("changes", [{"label": ""}, {"begin_step": -1}, {"begin_step": 9}])
def test_an_annotation_of_nothing_is_refused(changes: dict) -> None:
    with pytest.raises(InvalidConfig):
        note("", **changes)
