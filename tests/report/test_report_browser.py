"""The page in a real browser: does it show, play, fit a phone, and keep hostile text quiet?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from browser import NEEDS_BROWSER, visit
from synthetic_run import long_run, synthetic_run

from loopwright.report.page import write_page
from loopwright.report.run import RunReport

pytestmark = NEEDS_BROWSER

# Runs beside the page, not in it: the page's own policy forbids foreign scripts.
PROBE = """<!doctype html><link rel=icon href="data:,">
<iframe id=page width={width} height=900 src=report.html></iframe>
<script>
const frame = document.getElementById("page");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ready = (video) => video.readyState >= 2 && video.videoWidth > 0;
frame.onload = async () => {{
  const page = frame.contentDocument, all = (s) => [...page.querySelectorAll(s)];
  const videos = all("video");
  const playing = () => !videos.length || videos.some((video) => video.currentTime > 0);
  videos.forEach((video) => video.scrollIntoView());
  for (let i = 0; i < 600 && !(videos.every(ready) && playing()); i++) await pause(50);
  const found = {{
    sections: all("section").map((s) => s.id),
    headings: all("h1,h2,h3").map((h) => Number(h.tagName[1])),
    videos: videos.map((v) => ({{ready: ready(v), error: v.error && v.error.message,
      width: v.videoWidth, time: v.currentTime, label: v.getAttribute("aria-label")}})),
    images: all("img").map((i) => ({{width: i.naturalWidth, alt: i.alt}})),
    figures: all("svg").map((s) => ({{label: s.getAttribute("aria-label"),
      width: s.getBoundingClientRect().width,
      text: Math.min(99, ...[...s.querySelectorAll("text")].map((t) =>
        parseFloat(getComputedStyle(t).fontSize) *
        s.getBoundingClientRect().width / s.viewBox.baseVal.width))}})),
    ids: all("[id]").map((e) => e.id),
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    injected: frame.contentWindow.injected === true,
    loaded: frame.contentWindow.performance.getEntriesByType("resource")
      .map((r) => r.name).filter((n) => !n.startsWith("data:")),
  }};
  await fetch("/found", {{method: "POST", body: JSON.stringify(found)}});
}};
</script>"""


def look(run: RunReport, folder: Path, *, width: int, dark: bool = False) -> tuple[dict, str]:
    """Open the page of a run in Chromium; return what the probe found and the console's text."""
    write_page(run, folder / "report.html")
    (folder / "probe.html").write_text(PROBE.format(width=width))
    return visit(folder, width=width, dark=dark)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_whole_report_shows_plays_and_fits(tmp_path: Path, width: int) -> None:
    seen, console = look(synthetic_run(), tmp_path, width=width)
    assert console == ""
    assert seen["loaded"] == []
    assert seen["sections"] == [
        "films",
        "success",
        "decisions",
        "certificate",
        "imagination",
        "learning",
        "data",
        "costs",
        "notes",
        "reproduce",
    ]
    assert seen["headings"][0] == 1
    assert seen["headings"].count(1) == 1
    steps = [b - a for a, b in zip(seen["headings"], seen["headings"][1:], strict=False)]
    assert max(steps) <= 1
    assert len(seen["ids"]) == len(set(seen["ids"]))
    assert seen["overflow"] <= 0
    assert len(seen["videos"]) == 6
    for video in seen["videos"]:
        assert video["ready"], video
        assert video["error"] is None
        assert video["width"] == 64
        assert "seed" in video["label"]
    assert any(video["time"] > 0 for video in seen["videos"])
    assert len(seen["images"]) == 16
    assert all(image["width"] == 64 and image["alt"] for image in seen["images"])
    assert len(seen["figures"]) == 8
    assert all(figure["label"] and figure["width"] > 250 for figure in seen["figures"])
    assert min(figure["text"] for figure in seen["figures"]) >= 9


def test_twenty_rounds_fit_a_phone(tmp_path: Path) -> None:
    seen, console = look(long_run(20), tmp_path, width=390, dark=True)
    assert console == ""
    assert seen["overflow"] <= 0
    assert len(seen["ids"]) == len(set(seen["ids"]))


def test_hostile_text_neither_runs_nor_breaks_the_page(tmp_path: Path) -> None:
    attack = (
        '"></title></style></script><script>window.injected=true</script>'
        "<img src=x onerror='window.injected=true'>"
    )
    run = synthetic_run()
    hostile = replace(
        run,
        title=attack,
        scenario=attack,
        instruction=attack,
        recipe=attack,
        command=attack,
        notes=(attack,),
        rounds=tuple(
            replace(r, label=attack, reason=attack, cost_cpu_s={attack: 1.0}) for r in run.rounds
        ),
    )
    seen, console = look(hostile, tmp_path, width=1280)
    assert console == ""
    assert not seen["injected"]
    assert len(seen["sections"]) == 10
    assert len(seen["images"]) == 16
