"""The verbs that look at recorded data and choose from it, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.cli import EXIT_USAGE, main
from loopwright.store.ledger import EpisodeRow
from loopwright.store.snapshots import load_snapshot, save_snapshot
from loopwright.store.workspace import Workspace
from recorded_points import everything, record_points

CapSys = pytest.CaptureFixture[str]


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The workspace of a folder in which commands are typed, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    with record_points(tmp_path / "runs") as workspace:
        yield workspace


def typed(capsys: CapSys, *words: str) -> str:
    """Run a command that must succeed and return what it printed."""
    assert main(["data", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: CapSys, *words: str) -> str:
    assert main(["data", *words]) == EXIT_USAGE
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def only(workspace: Workspace, kind: str) -> EpisodeRow:
    return next(r for r in workspace.ledger.episodes(censored=True) if r.kind == kind)


class TestSelect:
    def test_it_prints_a_digest_that_can_be_loaded_and_one_line(
        self, points: Workspace, capsys: CapSys
    ) -> None:
        assert main(["data", "select", "--kind", "demo", "--kind", "play"]) == 0
        said = capsys.readouterr()
        digest = said.out.strip()  # alone, so that a script can keep it: id=$(loopwright data ...)
        assert said.err.strip() == (
            "5 episodes (3 demo, 2 play): 3 success, 2 unjudged; rule: kind demo or play; whole"
        )
        assert len(load_snapshot(points, digest).episodes) == 5
        again = json.loads(typed(capsys, "select", "--kind", "demo", "--kind", "play", "--json"))
        assert again["snapshot"] == digest
        assert again["kinds"] == {"demo": 3, "play": 2}

    def test_every_flag_narrows(self, points: Workspace, capsys: CapSys) -> None:
        demo, play = only(points, "demo"), only(points, "play")

        def count(*flags: str) -> int:
            return len(json.loads(typed(capsys, "select", "--json", *flags))["episodes"])

        whole = typed(capsys, "select", "--cut-short", "include").split()[0]
        assert count() == 8
        assert count("--cut-short", "include") == 9
        assert count("--cut-short", "only") == 1
        assert count("--outcome", "failure") == 2
        assert count("--candidate", "ccc") == 2
        assert count("--label", "stuck") == 1
        assert count("--without-label", "stuck") == 7
        assert count("--leave-out", demo.id[:8], "--leave-out", play.id[:8]) == 6
        assert count("--snapshot", whole[:8], "--kind", "video") == 1
        assert count("--limit", "2") == 2
        x = demo.start["goal_x_m"]
        assert count("--where", f"goal_x_m={x}:{x}") >= 1
        assert count("--body", "robot") == 8

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--where", "goal_x_m=1"], "expected NAME=LOW:HIGH"),
            (["--where", "goal_z_m=0:1"], "known: ['goal_x_m', 'goal_y_m']"),
            (["--where", "goal_x_m=1:0"], "box is empty"),
            (["--label", "nobody said this"], "no episode matches"),
            (["--candidate", "zzz"], "unknown candidate 'zzz'"),
        ],
    )
    def test_what_selects_nothing_says_so_and_saves_nothing(
        self, points: Workspace, capsys: CapSys, flags: list[str], message: str
    ) -> None:
        assert message in refused(capsys, "select", *flags)
        assert list(points.snapshots_folder.iterdir()) == []


class TestLabel:
    def test_a_verdict_counts_where_nobody_else_has_spoken(
        self, points: Workspace, capsys: CapSys
    ) -> None:
        play = only(points, "play").id
        said = typed(capsys, "label", play[:6], "--outcome", "success", "--author", "ada")
        assert said == f"{play}: success, said by operator/ada\n"
        standing = points.ledger.standing_verdict(play)
        assert standing is not None
        assert (standing.outcome, standing.authority) == ("success", "operator")

    def test_it_says_when_a_verifier_outranks_the_operator(
        self, points: Workspace, capsys: CapSys
    ) -> None:
        demo = only(points, "demo").id
        said = typed(capsys, "label", demo, "--outcome", "failure", "--author", "ada")
        assert "kept but does not count" in said
        assert "said success, which outranks an operator" in said
        assert len(points.ledger.verdicts(demo)) == 2
        facts = json.loads(
            typed(capsys, "label", demo, "--outcome", "failure", "--author", "ada", "--json")
        )
        assert facts[0]["standing"]["outcome"] == "success"

    def test_a_note_is_added_and_withdrawn(self, points: Workspace, capsys: CapSys) -> None:
        play = only(points, "play").id
        words = ["label", play[:8], "--note", "bump", "--steps", "2:5", "--author", "ada"]
        assert typed(capsys, *words, "--reason", "hit") == (
            f"{play}: bump noted on steps 2:5 by operator/ada\n"
        )
        (note,) = points.ledger.annotations([play])[play]
        assert (note.begin_step, note.end_step, note.text) == (2, 5, "hit")
        assert "no note 'bump'" in refused(
            capsys, "label", play, "--note", "bump", "--author", "ada", "--withdraw"
        )
        assert "withdrawn" in typed(capsys, *words, "--withdraw")
        assert points.ledger.annotations([play]) == {}

    def test_a_wrong_name_labels_nobody_and_near_ones_are_suggested(
        self, points: Workspace, capsys: CapSys
    ) -> None:
        play = only(points, "play").id
        typo = f"{play[:7]}z"
        said = refused(capsys, "label", play, typo, "--outcome", "failure", "--author", "ada")
        assert f"unknown episode '{typo}'; did you mean '{play[:8]}'" in said
        assert points.ledger.verdicts(play) == []

    def test_a_beginning_that_several_share_is_not_guessed(
        self, points: Workspace, capsys: CapSys
    ) -> None:
        beginnings = [e[0] for e in points.ledger.episode_ids()]
        shared = next(b for b in beginnings if beginnings.count(b) > 1)
        said = refused(capsys, "label", shared, "--note", "x", "--author", "ada")
        assert f"names begin with {shared!r}" in said

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ([], "either --outcome"),
            (["--outcome", "success", "--note", "x"], "either --outcome"),
            (["--outcome", "success", "--steps", "1:2"], "belong to --note"),
            (["--note", "x", "--steps", "5"], "expected BEGIN:END"),
            (["--note", "x", "--steps", "5:2"], "0 <= begin < end"),
            (["--note", "x", "--steps", "5:5000"], "reaches beyond"),
            (["--note", ""], "needs a label"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, points: Workspace, capsys: CapSys, flags: list[str], message: str
    ) -> None:
        play = only(points, "play").id
        assert message in refused(capsys, "label", play, "--author", "ada", *flags)
        assert points.ledger.verdicts(play) == []
        assert play not in points.ledger.annotations([play])


class TestShow:
    def test_a_workspace_shows_its_snapshots(self, points: Workspace, capsys: CapSys) -> None:
        assert "No snapshot has been made yet" in typed(capsys, "show")
        digest = save_snapshot(points, everything(points))
        shown = typed(capsys, "show")
        assert digest[:12] in shown
        assert "In all 9 episodes" in shown
        (facts,) = json.loads(typed(capsys, "show", "--json"))
        assert facts["snapshot"] == digest

    def test_a_snapshot_shows_its_episodes_within_80_columns(
        self, points: Workspace, capsys: CapSys
    ) -> None:
        digest = save_snapshot(points, everything(points))
        shown = typed(capsys, "show", digest[:6])
        for row in points.ledger.episodes(censored=True):
            assert row.id[:10] in shown
        assert "✕ failure" in shown
        assert "stuck" in shown
        assert "* cut short" in shown
        assert "goal x (m), goal y (m)" in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert "The first 3 of 9 episodes" in typed(capsys, "show", digest, "--limit", "3")
        facts = json.loads(typed(capsys, "show", digest, "--json"))
        assert len(facts["judgements"]) == 9

    def test_an_episode_shows_everything_about_it(self, points: Workspace, capsys: CapSys) -> None:
        demo = only(points, "demo")
        typed(capsys, "label", demo.id, "--outcome", "failure", "--author", "ada")
        shown = typed(capsys, "show", demo.id[:9])
        assert demo.digest in shown
        assert "train split" in shown
        assert "→ stands ✓ success" in shown
        assert "operator/ada" in shown
        assert "proprio goal_x_m" in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert "▀" not in shown, "no colours, so no picture"
        facts = json.loads(typed(capsys, "show", demo.id, "--json"))
        assert [v["outcome"] for v in facts["verdicts"]] == ["success", "failure"]

    def test_frames_are_drawn_where_there_are_colours(
        self, points: Workspace, capsys: CapSys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLORTERM", "truecolor")
        monkeypatch.setenv("TERM", "xterm-256color")
        demo = only(points, "demo").id
        shown = typed(capsys, "show", demo)
        assert shown.count("▀") == 4 * 19 * 10
        assert "\x1b[38;2;" in shown
        monkeypatch.setenv("NO_COLOR", "1")
        assert "▀" not in typed(capsys, "show", demo)

    def test_a_damaged_episode_is_shown_as_such(self, points: Workspace, capsys: CapSys) -> None:
        demo = only(points, "demo").id
        (points.episodes_folder / demo / "data.parquet").write_bytes(b"oops")
        assert "is not what was recorded" in " ".join(typed(capsys, "show", demo).split())
        digest = save_snapshot(points, everything(points))
        assert "damaged" in typed(capsys, "show", digest)

    def test_an_unknown_name_is_explained(self, points: Workspace, capsys: CapSys) -> None:
        assert "'loopwright data show' lists them" in refused(capsys, "show", "zzzz")


def test_a_page_is_written_where_it_is_asked_for(points: Workspace, capsys: CapSys) -> None:
    digest = typed(capsys, "select", "--kind", "demo").split()[0]
    assert typed(capsys, "page", digest[:6], "--limit", "2") == (
        f"{points.root}/reports/data-{digest[:12]}.html\n"
    )
    asked = typed(capsys, "page", digest, "--out", "look.html").strip()
    assert Path(asked).read_text().startswith("<!doctype html>")
    assert "limit is 0" in refused(capsys, "page", digest, "--limit", "0")
