"""The page of a gallery: what it shows is what the story says, and nothing else gets in."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import NEEDS_BROWSER, visit
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import InvalidConfig, StorageError
from loopwright.report.gallery.grid import picture_grid
from loopwright.report.gallery.nearest import distances, nearest_pictures
from loopwright.report.gallery.page import render_page, write_page
from loopwright.report.gallery.png import encode_png
from loopwright.report.gallery.story import (
    Caption,
    CaptionList,
    Contrast,
    Credit,
    ExpertStory,
    FreePrompt,
    GalleryStory,
    Kind,
    Measure,
    Neighbour,
    Painting,
    PaintingList,
    ScoreRow,
    TokenGroup,
)
from loopwright.report.gallery.wordwise import mark_differences

ATTACK = (
    '"></title></style></script><script>window.injected=true</script>'
    "<img src=x onerror='window.injected=true'>"
)
VOID = {"meta", "link", "img", "br", "input"}
SEEN = Kind(name="seen", title="Seen", about="Shown.", is_shown=True)
FLAG = Kind(name="flag", title="Unknown flags", about="Never shown.", is_control=True)


def decoded(png: bytes) -> np.ndarray:
    from matplotlib import image

    return (image.imread(io.BytesIO(png)) * 255).round().astype(np.uint8)[..., :3]


class Pictures:
    """Random pictures, each another one."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def one(self) -> np.ndarray:
        return self.random.integers(0, 256, (8, 8, 3), dtype=np.uint8)


def story(words: str = "red heart") -> GalleryStory:
    new = Pictures().one

    def painting(number: int, *, right: bool) -> Painting:
        return Painting(
            prompt=f"{words} {number}",
            language="en",
            style="twemoji",
            true=new(),
            restored=new(),
            painted=new(),
            true_distance=12.3,
            nearest=Neighbour(
                picture=new(), name=f"{words} near {number}", distance=0.0 if right else 31.4
            ),
            is_right=right,
        )

    def measure(value: float, unit: str = "share") -> Measure:
        return Measure(value=value, low=value - 0.1, high=value + 0.1, unit=unit, groups=42)

    lists = tuple(
        PaintingList(
            kind=kind,
            shown=(painting(2 * place, right=True), painting(2 * place + 1, right=False)),
            total=42,
            right=17,
            copied=5,
            nearer_true=9,
        )
        for place, kind in enumerate((SEEN, FLAG))
    )
    captions = (
        Caption(picture=new(), said=f"{words} a", true=f"{words} a", language="en", is_exact=True),
        Caption(picture=new(), said=f"blue {words}", true=f"big {words}", language="en",
                is_exact=False),
        Caption(picture=new(), said="", true=words, language="en", is_exact=False),
    )  # fmt: skip
    free = FreePrompt(
        prompt=f"{words} free",
        painted=(new(), new()),
        nearest=tuple(
            Neighbour(picture=new(), name=f"{words} free near {n}", distance=7.0) for n in range(2)
        ),
    )
    counts = np.array([[6, 2, 2, 0], [1, 1, 1, 7]])
    experts = ExpertStory(
        layers=(1, 2),
        experts=4,
        chosen=2,
        groups=(
            TokenGroup(name="painting, words", modality="words", tokens=5, counts=counts),
            TokenGroup(name="painting, codes", modality="codes", tokens=5, counts=counts[:, ::-1]),
        ),
        languages=(),
        contrasts=(
            Contrast(
                name="words and codes",
                variation=np.array([0.61, 0.62]),
                chance=np.array([0.11, 0.12]),
            ),
        ),
    )
    return GalleryStory(
        digest="ab" * 32,
        parameters=2_300_000,
        px=8,
        codes=4,
        part="report",
        language="en",
        seed=0,
        tries=1,
        how="temperature 0.15, guidance 1.8",
        training_pictures=3297,
        is_trained_on_them=True,
        paintings=lists,
        captions=(CaptionList(kind=SEEN, shown=captions, total=150, exact=77),),
        free=(free,),
        experts=experts,
        scores=(
            ScoreRow(kind=SEEN, measures={"top_1": measure(0.45), "gap": measure(0.4, "nats")}),
            ScoreRow(kind=FLAG, measures={"top_1": measure(0.15)}),
        ),
        metrics={"top_1": "Painting right", "gap": "Worth of the name"},
        tokenizer=measure(24.2, "dB"),
        credits=(
            Credit(
                package="@iconify-json/twemoji 1.2.5",
                licence="CC-BY-4.0",
                attribution=f"Twemoji graphics, copyright Twitter {words}",
                changes="drawn as pixels",
            ),
        ),
    )


class Reader(HTMLParser):
    """Reads a page, refuses what is not closed in order, and keeps pictures and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: dict[str, np.ndarray] = {}
        self.references: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.references += [str(given[k]) for k in ("src", "href", "srcset") if k in given]
        self.ids += [str(given["id"])] if "id" in given else []
        if tag == "img":
            data = str(given["src"]).removeprefix("data:image/png;base64,")
            pixels = decoded(base64.b64decode(data))
            alt = str(given["alt"])
            # The same words never stand for two pictures.
            assert alt not in self.pictures or np.array_equal(self.pictures[alt], pixels)
            self.pictures[alt] = pixels
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_every_picture_is_the_one_that_it_says():
    told = story()
    shown = Reader(render_page(told)).pictures
    expected: dict[str, np.ndarray] = {}
    for item in (p for found in told.paintings for p in found.shown):
        expected[f"true picture: {item.prompt}"] = item.true
        expected[f"from its codes: {item.prompt}"] = item.restored
        expected[f"painted: {item.prompt}"] = item.painted
        expected[f"nearest training picture: {item.nearest.name}"] = item.nearest.picture
    for caption in told.captions[0].shown:
        expected[f"picture of: {caption.true}"] = caption.picture
    for number, (painted, near) in enumerate(
        zip(told.free[0].painted, told.free[0].nearest, strict=True), start=1
    ):
        expected[f"painted: {told.free[0].prompt}, try {number}"] = painted
        expected[f"nearest training picture: {near.name}"] = near.picture
    for alt, pixels in expected.items():
        assert np.array_equal(shown[alt], pixels), alt
    assert shown.keys() == expected.keys()


def test_the_page_says_what_was_found():
    text = Reader(render_page(story())).text
    for words in (
        "17 of 42 right",
        "5 copied",
        "9 nearer to the unseen true picture",
        "copy",
        "31 away",
        "12 from true",
        "77 of 150 exact",
        "45% 35% to 55%",
        "0.61 chance 0.11",
        "Layer 2",
        "24.2 dB",
        "CC-BY-4.0",
        "Twemoji graphics, copyright Twitter",
        "ab" * 32,
        "leak control",
    ):
        assert words in text, words


def test_a_copy_is_named_only_where_it_is_one():
    page = render_page(story())
    assert page.count("<b>copy</b>") == 1 + 2, "in the lead, and for each painting at distance 0"
    alarmed = re.findall(r'class="alarm"', page)
    assert len(alarmed) == 1, "of seen pictures a copy is what is wanted"


def test_pages_reach_for_nothing_and_are_equal_for_equal_stories():
    page = render_page(story())
    assert page == render_page(story())
    read = Reader(page)
    assert all(reference.startswith(("data:", "#")) for reference in read.references)
    assert "url(" not in page
    assert len(read.ids) == len(set(read.ids))


def test_hostile_texts_stay_texts():
    read = Reader(render_page(story(ATTACK)))
    assert read.tags == Reader(render_page(story())).tags
    assert read.text.count("window.injected=true") > 10
    assert "x" not in read.references


def test_a_dense_model_without_free_prompts_has_a_page():
    told = replace(story(), experts=None, free=(), is_trained_on_them=False)
    read = Reader(render_page(told))
    assert "experts" not in read.ids
    assert "free" not in read.ids
    assert "dense, no experts" in read.text
    assert "may have learned from others" in read.text


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"page\.html"):
        write_page(story(), tmp_path / "file" / "page.html")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_a_png_holds_the_very_pixels(height: int, width: int, seed: int):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(decoded(encode_png(pixels)), pixels)


class TestNearest:
    @settings(max_examples=15, deadline=None)
    @given(st.integers(1, 5), st.integers(1, 700), st.integers(0, 99))
    def test_it_is_the_one_that_comparing_all_finds(self, asked: int, known: int, seed: int):
        random = np.random.default_rng(seed)
        questions = random.integers(0, 256, (asked, 2, 2, 3), dtype=np.uint8)
        answers = random.integers(0, 256, (known, 2, 2, 3), dtype=np.uint8)
        found, far = nearest_pictures(questions, answers)
        for row, question in enumerate(questions):
            every = distances(np.broadcast_to(question, answers.shape), answers)
            assert far[row] == pytest.approx(every.min())
            assert every[found[row]] == every.min()

    def test_a_copy_is_at_nothing_and_the_first_of_equals(self):
        pictures = np.random.default_rng(0).integers(0, 256, (1200, 8, 8, 3), dtype=np.uint8)
        pictures[1100] = pictures[7]
        found, far = nearest_pictures(pictures[[1100, 513]], pictures)
        assert found.tolist() == [7, 513]
        assert far.tolist() == [0.0, 0.0]


class TestDifferences:
    TEXT = st.text("ab :-<&é笑脸", max_size=12)

    @given(TEXT, TEXT)
    def test_nothing_is_lost_and_equal_texts_have_no_marks(self, said: str, true: str):
        from html import unescape

        left, right = mark_differences(said, true)
        assert unescape(re.sub(r"</?(del|ins)>", "", left)) == said
        assert unescape(re.sub(r"</?(del|ins)>", "", right)) == true
        same, _ = mark_differences(said, said.upper())
        assert "<del>" not in same

    def test_only_the_words_that_differ_are_marked(self):
        left, right = mark_differences("woman: light skin tone", "woman: dark skin tone")
        assert left == "woman: <del>light</del> skin tone"
        assert right == "woman: <ins>dark</ins> skin tone"


class TestGrid:
    def test_it_shows_the_pictures(self):
        items = [item for found in story("Herz 笑脸 ✓").paintings for item in found.shown]
        plain = np.zeros((8, 8, 3), np.uint8)
        red, green, blue = ((plain + np.array(c, np.uint8)) for c in np.eye(3, dtype=int) * 200)
        item = replace(items[0], true=red, painted=green)
        item = replace(item, nearest=replace(item.nearest, picture=blue))
        shown = decoded(picture_grid([item]))
        places = [
            np.argwhere((shown == colour).all(axis=-1)).mean(axis=0)
            for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))
        ]
        assert places[0][1] < places[1][1] < places[2][1], "true, painted, nearest"
        assert picture_grid(items, columns=3) == picture_grid(items, columns=3)

    def test_nothing_is_no_grid(self):
        with pytest.raises(InvalidConfig, match="0 paintings"):
            picture_grid([])


PROBE = """<!doctype html><link rel=icon href="data:,">
<iframe id=page width={width} height=900 src=page.html></iframe>
<script>
const frame = document.getElementById("page");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
frame.onload = async () => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  const all = (s) => [...page.querySelectorAll(s)];
  for (let i = 0; i < 200 && !all("img").every((i) => i.complete); i++) await pause(20);
  await fetch("/found", {{method: "POST", body: JSON.stringify({{
    images: all("img").map((i) => i.naturalWidth),
    sharp: all("img").map((i) => getComputedStyle(i).imageRendering),
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    injected: view.injected === true,
    loaded: view.performance.getEntriesByType("resource")
      .map((r) => r.name).filter((n) => !n.startsWith("data:")),
  }})}});
}};
</script>"""


class TestInABrowser:
    pytestmark = NEEDS_BROWSER

    @pytest.mark.parametrize(("width", "dark"), [(360, True), (1200, False)])
    def test_it_fits_and_loads_nothing(self, tmp_path, width: int, dark: bool):
        write_page(story(ATTACK), tmp_path / "page.html")
        (tmp_path / "probe.html").write_text(PROBE.format(width=width))
        found, console = visit(tmp_path, width=width, dark=dark)
        assert console == ""
        assert set(found["images"]) == {8}
        assert set(found["sharp"]) == {"pixelated"}
        assert found["overflow"] <= 0
        assert not found["injected"]
        assert found["loaded"] == []
