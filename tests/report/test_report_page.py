import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from synthetic_run import genesis_round, later_round, long_run, synthetic_run

from loopwright.core.errors import MissingExtra, StorageError
from loopwright.report.markup import Html, element, join
from loopwright.report.page import render_page, write_page
from loopwright.report.pictures import Film, FilmPair
from loopwright.report.rounds import RoundReport
from loopwright.report.run import RunReport

VOID = {"meta", "link", "img", "br"}
EMPTY = RunReport(
    title="Empty", scenario="door-open-v1", instruction="open the door", recipe="demo", seed=3
)


class Outline(HTMLParser):
    """Sections, ids and unbalanced tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "section":
            self.sections.append(str(found["id"]))
        self.addresses += [str(v) for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize(
    ("run", "sections"),
    [
        (EMPTY, ["notes", "reproduce"]),
        (
            replace(EMPTY, rounds=(genesis_round(),)),
            ["success", "decisions", "learning", "data", "costs", "notes", "reproduce"],
        ),
        (
            replace(EMPTY, rounds=(RoundReport(index=0, label="Collect", decision="open"),)),
            ["decisions", "notes", "reproduce"],
        ),
        (
            long_run(20),
            ["success", "decisions", "learning", "data", "costs", "notes", "reproduce"],
        ),
    ],
    ids=["empty", "one round", "unfinished", "twenty rounds"],
)
def test_a_page_shows_what_there_is_and_leaves_out_the_rest(
    run: RunReport, sections: list[str]
) -> None:
    page = Outline(render_page(run))
    assert page.open == []
    assert page.sections == sections
    assert len(page.ids) == len(set(page.ids))
    assert run.title in "".join(page.text)


def test_equal_runs_give_equal_bytes_also_in_another_process() -> None:
    command = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]);"
        "from synthetic_run import synthetic_run;"
        "from loopwright.report.page import render_page;"
        "print(hashlib.sha256(render_page(synthetic_run()).encode()).hexdigest())"
    )
    here = str(Path(__file__).parent)
    seen = {
        subprocess.run(
            [sys.executable, "-c", command, here],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_nothing_on_the_page_comes_from_elsewhere() -> None:
    page = Outline(render_page(synthetic_run()))
    assert page.addresses
    assert all(a.startswith(("data:", "#")) for a in page.addresses)


@pytest.mark.parametrize("field", ["title", "scenario", "instruction", "recipe", "command"])
def test_text_is_escaped_wherever_it_comes_from(field: str) -> None:
    attack = "<script>alert(1)</script>\"'><b>&$x$ \\frac _"
    plain = render_page(replace(EMPTY, **{field: "harmless"}))
    hostile = render_page(replace(EMPTY, **{field: attack}))
    assert hostile.count("<script") == plain.count("<script")
    assert attack in "".join(Outline(hostile).text)


def test_every_label_can_hold_any_text() -> None:
    odd = "_$\\frac{1}{0}$ <b> 机器人 \x07"
    turn = later_round(1, "promote", "a" * 64)
    run = replace(
        EMPTY,
        rounds=(
            replace(
                turn,
                label=odd,
                reason=odd,
                added={odd: 2},
                cost_cpu_s={odd: 3.0},
                curves=tuple(replace(c, name=odd, unit=odd) for c in turn.curves[:1]),
            ),
        ),
    )
    page = Outline(render_page(run))
    assert page.open == []
    assert "<b>" not in re.sub(r"<style>.*?</style>", "", render_page(run), flags=re.DOTALL)


def test_a_film_whose_file_is_gone_is_said_to_be_missing(tmp_path: Path) -> None:
    gone = Film(mp4=tmp_path / "gone.mp4", label="before", outcome="success")
    run = replace(EMPTY, films=(FilmPair(seed=7, before=gone),))
    text = render_page(run)
    assert "<video" not in text
    assert text.count("No film was kept.") == 2


def test_a_headline_says_both_rates_and_the_verdict() -> None:
    words = " ".join("".join(Outline(render_page(synthetic_run())).text).split())
    assert "0.05 → 0.97 on button-press-v1" in words
    assert "Promoted in round 2; two challengers refused, one of them planted on purpose." in words
    assert "97 of 100, 95% interval 0.91\N{EN DASH}0.99" in words


def test_write_page_replaces_whole_files_only(tmp_path: Path) -> None:
    path = write_page(EMPTY, tmp_path / "deep" / "report.html")
    first = path.read_text()
    assert write_page(replace(EMPTY, seed=4), path) == path
    assert path.read_text() != first
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_page_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        write_page(EMPTY, tmp_path / "file" / "report.html")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"loopwright\[report\]"):
        render_page(synthetic_run())


def test_markup_escapes_text_but_not_markup() -> None:
    inner = element("b", "<&>", title='"')
    assert inner == '<b title="&quot;">&lt;&amp;&gt;</b>'
    assert join("<", inner, None, between="|") == f"&lt;|{inner}"
    assert isinstance(inner, Html)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_colour_has_enough_contrast(scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for text, 3 to 1 for the lines of a figure."""
    css = resources.files("loopwright.report").joinpath("base.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", blocks[scheme == "dark"]))
    assert len(colours) == 14

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        return (high + 0.05) / (low + 0.05)

    for text in ("ink", "soft", "good", "bad", "warn"):
        assert contrast(text, "paper") >= 4.5, text
    for index in range(6):
        assert contrast(f"series{index}", "paper") >= 3.0, index


def test_the_page_says_why_one_champion_has_several_rates_and_what_labels_it_cost() -> None:
    words = " ".join("".join(Outline(render_page(synthetic_run())).text).split())
    assert "The first champion solved 4 of 50 in operation after round 0" in words
    assert "at the gate of round 1" in words
    assert "5 of 100 on sealed starts" in words
    assert "All champions were made with the same 5 labelled demonstrations" in words
    assert "labelled demonstrations spent" not in words, "a vertical line was drawn"
