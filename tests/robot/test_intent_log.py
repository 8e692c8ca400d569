"""What a robot has begun: across restarts, damaged files and a disk that refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.core.errors import DamagedData, StorageError
from loopwright.robot.agent import intents
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.messages import Ended


def ended(intent: str, entity: str = "cube") -> Ended:
    return Ended(
        robot="r1",
        intent=intent,
        claim="finished",
        reason="",
        lasted_s=1.5,
        sightings=({"entity": entity},),
    )


def test_a_restart_knows_what_was_begun_and_how_it_ended(tmp_path: Path) -> None:
    log = IntentLog(tmp_path / "r1.db")
    assert log.fence(7)
    log.begin("i-1")
    log.end(ended("i-1"))
    log.begin("i-2")
    assert (log.standing("i-1"), log.standing("i-2")) == ("ended", "running")
    log.close()
    anew = IntentLog(tmp_path / "r1.db")
    standings = [anew.standing(f"i-{number}") for number in (1, 2, 3)]
    assert standings == ["ended", "interrupted", "never-heard"]
    assert anew.report("i-1") == ended("i-1")
    assert anew.epoch == 7
    assert not anew.fence(6)


def test_the_oldest_attempts_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intents, "REMEMBERED", 3)
    log = IntentLog(tmp_path / "r1.db")
    for number in range(5):
        log.begin(f"i-{number}")
        log.end(ended(f"i-{number}"))
    standings = [log.standing(f"i-{number}") for number in range(5)]
    assert standings == ["never-heard", "never-heard", "ended", "ended", "ended"]


def test_an_end_that_the_disk_refuses_is_known_all_the_same(tmp_path: Path) -> None:
    log = IntentLog(tmp_path / "r1.db")
    log.begin("i-1")
    # A disk that takes no page more.
    pages = log._database.rows("PRAGMA page_count")[0][0]
    log._database.rows(f"PRAGMA max_page_count = {pages}")
    long = ended("i-1", entity="x" * 100_000)
    with pytest.raises(StorageError, match="full"):
        log.end(long)
    # Else the coordinator would be told for ever that it runs.
    assert log.standing("i-1") == "ended"
    assert log.report("i-1") == long
    log.close()
    assert IntentLog(tmp_path / "r1.db").standing("i-1") == "interrupted"


def test_an_attempt_that_cannot_be_written_down_never_began(tmp_path: Path) -> None:
    log = IntentLog(tmp_path / "r1.db")
    pages = log._database.rows("PRAGMA page_count")[0][0]
    log._database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="nothing of it was written"):
        log.begin("i-" + "x" * 100_000)
    assert log.standing("i-" + "x" * 100_000) == "never-heard"


@pytest.mark.parametrize("damage", ["not a database at all" * 400, None])
def test_a_damaged_record_says_what_to_do(tmp_path: Path, damage: str | None) -> None:
    path = tmp_path / "r1.db"
    if damage is None:
        log = IntentLog(path)
        log.begin("i-1")
        with log._database.change() as connection:
            connection.execute('UPDATE attempts SET report = \'{"kind": "ended"\'')
        log.close()
        with pytest.raises(DamagedData, match="see that the robot is at rest"):
            IntentLog(path).report("i-1")
    else:
        path.write_text(damage)
        with pytest.raises(DamagedData, match="see that the robot is at rest"):
            IntentLog(path)
