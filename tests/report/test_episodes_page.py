"""The page of a snapshot: what it says, and how it behaves in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import NEEDS_BROWSER, visit

from loopwright.core.episode import Annotation
from loopwright.report.episodes.gather import gather_snapshot
from loopwright.report.episodes.page import render_page, write_page
from loopwright.report.episodes.story import SnapshotStory
from loopwright.store.snapshots import Snapshot
from loopwright.store.workspace import Workspace
from recorded_points import everything, judged_by, record_points

ATTACK = (
    '"></title></style></script><script>window.injected=true</script>'
    "<img src=x onerror='window.injected=true'>"
)

# Each step: what to do, and what to wait for before looking.
PROBE = """<!doctype html><link rel=icon href="data:,">
<iframe id=page width={width} height=900 src=page.html></iframe>
<script>
const frame = document.getElementById("page");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
frame.onload = async () => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  const all = (s) => [...page.querySelectorAll(s)];
  const showing = () => all(".episode").filter((e) => e.getClientRects().length).map((e) => e.id);
  const chip = (name, value) => all("input[type=checkbox]")
    .find((c) => c.name === name && c.value === value);
  const find = page.getElementById("find");
  const type = (text) => {{ find.value = text;
    find.dispatchEvent(new Event("input", {{bubbles: true}})); return showing(); }};
  const toggle = (name, value) => {{ chip(name, value).click(); return showing(); }};
  for (let i = 0; i < 200 && !all("img").every((i) => i.complete); i++) await pause(20);
  const found = {{
    all: showing(),
    images: all("img").map((i) => i.naturalWidth),
    text: Math.min(...all(".plots text").map((t) => parseFloat(getComputedStyle(t).fontSize) *
      t.ownerSVGElement.getBoundingClientRect().width / t.ownerSVGElement.viewBox.baseVal.width)),
    failure: toggle("outcome", "failure"),
    dimmed: all(".dot.off").length,
    tallies: Object.fromEntries(all(".chip").map((c) => [c.querySelector("input").value,
      Number(c.querySelector(".tally").textContent)])),
    either: toggle("outcome", "unjudged"),
    plays: toggle("kind", "play"),
    none: type("no such word"),
    nothing: !page.getElementById("nothing").hidden,
  }};
  page.getElementById("clear").click();
  await pause(50);
  Object.assign(found, {{
    cleared: showing(),
    cut: toggle("state", "cut short"),
  }});
  toggle("state", "cut short");
  Object.assign(found, {{
    stuck: toggle("labels", {label}),
  }});
  toggle("labels", {label});
  const last = all(".episode").at(-1).id;
  Object.assign(found, {{
    byId: type(last.slice(2, 10)),
    count: page.getElementById("shown").textContent,
    last,
  }});
  const other = found.all[0];
  all(".dot[data-episode]").find((d) => d.dataset.episode === other.slice(2))
    .dispatchEvent(new MouseEvent("click", {{bubbles: true}}));
  await pause(100);
  found.revealed = showing().includes(other);
  Object.assign(found, {{
    ids: all("[id]").map((e) => e.id),
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    injected: view.injected === true,
    scripts: all("script").length,
    loaded: view.performance.getEntriesByType("resource")
      .map((r) => r.name).filter((n) => !n.startsWith("data:")),
  }});
  await fetch("/found", {{method: "POST", body: JSON.stringify(found)}});
}};
</script>"""


@pytest.fixture
def points(tmp_path: Path) -> Iterator[Workspace]:
    with record_points(tmp_path / "ws") as workspace:
        yield workspace


def story_of(workspace: Workspace, **choices: int) -> SnapshotStory:
    return gather_snapshot(workspace, everything(workspace), **{"limit": 500, **choices})


def test_the_page_says_what_the_snapshot_holds(points: Workspace) -> None:
    page = render_page(story_of(points))
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    assert "9 episodes of point-reach-v1" in words
    assert "Chosen by the rule: everything." in words
    assert "4 of 6 judged episodes" in words
    assert "cut short: the power went" in words
    assert "goal x (m)" in words
    assert "action (of top speed)" in words
    assert "proprio (m)" in words
    assert "time (s)" in words
    assert "A video: images and times only, no actions." in words
    assert page.count('class="episode"') == 9
    assert page.count("data:image/jpeg") == 9
    assert page == render_page(story_of(points)), "equal stories give equal pages"


def test_a_snapshot_without_a_rule_does_not_claim_to_have_none(points: Workspace) -> None:
    named = replace(everything(points), label_filter=None)
    page = render_page(gather_snapshot(points, named, limit=1))
    assert "Named one by one: no rule is on record" in page


def test_what_is_cut_is_said(points: Workspace) -> None:
    story = story_of(points, limit=2)
    page = render_page(story)
    assert page.count('class="episode"') == 2
    assert "The first 2 of 9 episodes are shown, as was asked for" in page
    assert story.outcomes().total() == 9


def test_a_page_never_grows_too_heavy(points: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = len(render_page(gather_snapshot(points, Snapshot(episodes=()), limit=1)))
    monkeypatch.setattr("loopwright.report.episodes.gather.PAGE_BYTES", 50_000)
    story = story_of(points)
    assert 1 < len(story.episodes) < 9
    assert "would make the page too heavy" in str(story.cut)
    # Totals and the map come on top; with few episodes they count.
    assert len(render_page(story)) - frame < 50_000 + 5_000


def test_damaged_and_forgotten_episodes_are_named(points: Workspace) -> None:
    snapshot = everything(points)
    film = points.episodes_folder / snapshot.episodes[0] / "top.mp4"
    film.write_bytes(film.read_bytes()[:-1])
    (points.episodes_folder / snapshot.episodes[1] / "data.parquet").unlink()
    named = Snapshot(episodes=(*snapshot.episodes, "f" * 20))
    story = gather_snapshot(points, named, limit=500)
    page = render_page(story)
    assert [e.state for e in story.episodes[:4]] == ["damaged", "damaged", "cut short", "whole"]
    assert "top.mp4" in page
    assert "data.parquet" in page
    assert "1 episode that the snapshot names cannot be shown" in page


def test_an_empty_snapshot_has_a_page(points: Workspace) -> None:
    page = render_page(gather_snapshot(points, Snapshot(episodes=()), limit=5))
    assert "0 episodes" in page


def test_the_newest_operator_counts_until_a_verifier_speaks(points: Workspace) -> None:
    play = points.ledger.episodes(kind="play")[0].id
    points.ledger.add_verdict(judged_by(play, reason="it looked right"))
    page = render_page(story_of(points))
    assert "it looked right" in page
    assert "operator/ada, score 1" in page


@pytest.mark.parametrize("width", [1280, 390])
class TestInABrowser:
    pytestmark = NEEDS_BROWSER

    def look(self, workspace: Workspace, folder: Path, width: int, label: str) -> dict:
        write_page(story_of(workspace), folder / "page.html")
        (folder / "probe.html").write_text(
            PROBE.format(width=width, label=json.dumps(label).replace("</", r"<\/"))
        )
        seen, console = visit(folder, width=width)
        assert console == ""
        assert seen["loaded"] == []
        assert not seen["injected"]
        assert seen["scripts"] == 1
        assert len(seen["ids"]) == len(set(seen["ids"]))
        assert seen["overflow"] <= 0
        return seen

    def test_filters_hide_and_show(self, points: Workspace, tmp_path: Path, width: int) -> None:
        seen = self.look(points, tmp_path, width, "stuck")
        ledger = points.ledger
        rows = {f"e-{r.id}": r for r in ledger.episodes(censored=True)}
        kinds = {name: row.kind for name, row in rows.items()}
        assert seen["all"] == [f"e-{e}" for e in everything(points).episodes]
        assert min(seen["images"]) > 0
        assert seen["text"] >= 9
        assert {kinds[e] for e in seen["failure"]} == {"attempt"}
        assert len(seen["failure"]) == 2
        assert seen["dimmed"] == 7
        assert seen["tallies"]["attempt"] == 2
        assert seen["tallies"]["play"] == 0
        assert seen["tallies"]["success"] == 4, "a group's own choice does not hide its others"
        assert len(seen["either"]) == 5
        assert [kinds[e] for e in seen["plays"]] == ["play", "play"]
        assert seen["none"] == []
        assert seen["nothing"]
        assert seen["cleared"] == seen["all"]
        assert [rows[e].censored for e in seen["cut"]] == ["the power went"]
        assert len(seen["stuck"]) == 1
        assert seen["byId"] == [seen["last"]]
        assert seen["count"] == "1 of 9 episodes"
        assert seen["revealed"], "a mark on the map leads to its episode though it was filtered out"

    def test_hostile_text_is_inert(self, tmp_path: Path, width: int) -> None:
        with record_points(tmp_path / "hostile", reason=ATTACK) as workspace:
            tried = workspace.ledger.episodes(kind="attempt")[0]
            workspace.ledger.add_annotation(
                Annotation(episode=tried.id, label=ATTACK, author=ATTACK, text=ATTACK)
            )
            seen = self.look(workspace, tmp_path, width, ATTACK)
        assert len(seen["images"]) == 9
        assert len(seen["stuck"]) == 1
