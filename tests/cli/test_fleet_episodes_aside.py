"""Making episodes beside a fleet: once a task has ended, and never in anybody's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.cli.fleet_episodes import EpisodesAside
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.journal import Entry, Journal


def entry(event: happened.Event) -> Entry:
    return Entry(number=1, time_s=0.0, task=None, cause=None, event=event)


ENDED = entry(happened.TaskEnded(task="t-1", outcome="succeeded", reason=""))


def test_a_task_that_ended_has_its_episodes_made(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.db").close()
    with EpisodesAside(tmp_path) as aside:
        aside.take(ENDED)
    assert (tmp_path / "episodes" / "workspace.toml").exists()
    assert (tmp_path / "episodes.err").read_text() == ""


def test_without_a_task_nothing_is_started(tmp_path: Path) -> None:
    with EpisodesAside(tmp_path) as aside:
        aside.take(entry(happened.CoordinatorStarted(epoch=1)))
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EpisodesAside(tmp_path) as aside:
        aside.take(ENDED)
    told = capsys.readouterr().err
    assert "episodes are missing" in told
    assert "there is no fleet in" in (tmp_path / "episodes.err").read_text()
