from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_emoji
from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.scenarios.emoji import corpus as building
from loopwright.scenarios.emoji.captions import base_of, colour_of, gender_of, read_captions
from loopwright.scenarios.emoji.corpus import Emoji, build_emoji, cache_folder, load_emoji
from loopwright.scenarios.emoji.draw import DRAWN_PX, Drawings, draw, reduce, reduction

WHITE = (255, 255, 255)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_emoji.write_packages(tmp_path)
    for name, value in tiny_emoji.pins(tmp_path).items():
        monkeypatch.setattr(building, name, value)
    return tmp_path


@pytest.fixture
def emoji(cache: Path) -> Emoji:
    return load_emoji(8, ("twemoji",), cache)


def test_rows_join_drawings_and_captions(emoji: Emoji) -> None:
    # In the order of the consortium; a drawing without a caption and a caption without a drawing
    # make no row.
    assert emoji.hexcode.tolist() == ["2764", "1F44B", "1F44B-1F3FB", "1F468-200D-1F692"]
    assert emoji.labels("en")[2] == "waving hand: light skin tone"
    assert emoji.labels("zh").tolist() == ["红心", "挥手", "挥手: 较浅肤色", ""]
    assert emoji.tags("en")[2] == ("hello",)
    assert emoji.parent.tolist() == ["2764", "1F44B", "1F44B", "1F468-200D-1F692"]
    assert emoji.base.tolist() == ["2764", "1F44B", "1F44B", "1F9D1-200D-1F692"]
    assert emoji.tones.tolist() == [[0, 0], [0, 0], [1, 0], [0, 0]]
    assert emoji.gender.tolist() == ["", "", "", "man"]
    assert emoji.colour.tolist() == ["red", "", "", ""]
    assert emoji.languages == ("en", "zh")
    with pytest.raises(UnknownName, match="language 'fr'"):
        emoji.labels("fr")


def test_pixels_are_the_drawings(emoji: Emoji) -> None:
    assert emoji.pixels.shape == (4, 8, 8, 3)
    assert (emoji.pixels[0] == tiny_emoji.BLUE).all()
    left, right, top = emoji.pixels[1:4]
    assert (left[:, :4] == tiny_emoji.RED).all()
    assert (left[:, 4:] == WHITE).all()
    np.testing.assert_array_equal(right, left[:, ::-1])
    np.testing.assert_array_equal(top, np.rot90(left, -1))


def test_the_corpus_says_whose_work_it_is(emoji: Emoji) -> None:
    assert [source.package for source in emoji.corpus.facts.sources] == ["tiny", "words"]
    assert emoji.styles == ("twemoji",)


def test_what_was_built_is_only_read(cache: Path, emoji: Emoji) -> None:
    for tarball in (cache / "emoji").glob("*.tgz"):
        tarball.unlink()
    assert load_emoji(8, ("twemoji",), cache).corpus.digest == emoji.corpus.digest


def test_a_damaged_corpus_is_built_again(cache: Path, emoji: Emoji) -> None:
    whole = emoji.corpus.path.read_bytes()
    emoji.corpus.path.write_bytes(whole[:-9])
    assert load_emoji(8, ("twemoji",), cache).corpus.digest == emoji.corpus.digest
    assert emoji.corpus.path.read_bytes() == whole


def test_impossible_wishes_are_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="97 px; expected 1 to 96"):
        load_emoji(97, cache=tmp_path)
    with pytest.raises(UnknownName, match="did you mean 'twemoji'"):
        load_emoji(32, ("twemojis",), tmp_path)
    with pytest.raises(InvalidConfig, match="no emoji style"):
        load_emoji(32, (), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"icons.json": []}, "no icon set"),
        ({"chars.json": {"1f44b": 7}}, "no table of characters"),
        ({"chars.json": {"1f600": "left"}}, "not one drawing has a caption"),
        ({"chars.json": {"1f44b": "gone"}}, "no icon 'gone'"),
        ({"icons.json": {"icons": {"left": {"body": "<path"}}}}, "cannot be drawn"),
        ({"icons.json": {"icons": {"left": {"body": 7}}}}, "has no body"),
        ({"icons.json": {"icons": {"left": {"body": "", "width": 0}}}}, "has the box"),
        ({"icons.json": {"icons": {}, "aliases": {"left": {"parent": "left"}}}}, "has no body"),
        ({"icons.json": b"{"}, "no JSON"),
    ],
)
def test_hostile_drawings_are_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, object], message: str
) -> None:
    tarball = cache / "emoji/tiny-1.tgz"
    chars = {"chars.json": {"1f44b": "left"}}
    tiny_emoji.write_package(tarball, {**tiny_emoji.DRAWING_FILES, **chars, **files})
    monkeypatch.setattr(building, "DRAWINGS", {"twemoji": tiny_emoji.pin(tarball)})
    with pytest.raises(DamagedData, match=message):
        load_emoji(8, ("twemoji",), cache)
    assert not list((cache / "emoji").glob("*.parquet"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"en/data.json": [{"label": "x"}]}, "entry without 'hexcode'"),
        ({"en/data.json": [7]}, "entry without"),
        ({"en/data.json": [{"hexcode": "1F44B"}]}, "entry without 'label'"),
        ({"meta/groups.json": {}}, "entry without 'groups'"),
    ],
)
def test_hostile_captions_are_named(tmp_path: Path, files: dict[str, object], message: str) -> None:
    path = tmp_path / "words-1.tgz"
    tiny_emoji.write_package(path, {**tiny_emoji.CAPTION_FILES, **files})
    with pytest.raises(DamagedData, match=message):
        read_captions(path)


def test_captions_need_english(tmp_path: Path) -> None:
    path = tmp_path / "words-1.tgz"
    tiny_emoji.write_package(path, {"zh/data.json": []})
    with pytest.raises(DamagedData, match="no English"):
        read_captions(path)


def start(cache: Path, *arguments: str, crash_at: str | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, **({"LOOPWRIGHT_CRASH_AT": crash_at} if crash_at else {})}
    command = [sys.executable, str(Path(tiny_emoji.__file__)), str(cache), *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_processes_that_want_the_same_build_it_once(tmp_path: Path) -> None:
    tiny_emoji.write_packages(tmp_path)
    children = [start(tmp_path) for _ in range(3)]
    said = [child.communicate()[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len({lines[-1] for lines in said}) == 1
    assert sum("writing" in lines for lines in said) == 1


@pytest.mark.parametrize(
    ("message", "point"),
    [
        ("drawing", None),
        ("writing", None),
        ("(never)", "corpus.written"),
        ("(never)", "corpus.renamed"),
        ("(never)", "corpus_digest.written"),
        ("(never)", "corpus_digest.renamed"),
    ],
)
def test_a_build_that_is_killed_leaves_nothing_that_counts(
    cache: Path, message: str, point: str | None
) -> None:
    child = start(cache, message, crash_at=point)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    corpus = build_emoji(8, ("twemoji",), cache)
    assert corpus.num_rows == 4
    left = {path.name for path in (cache / "emoji").iterdir()}
    assert left == {
        ".lock", "tiny-1.tgz", "words-1.tgz", corpus.path.name, f"{corpus.path.stem}.json",
    }  # fmt: skip


def test_the_cache_is_where_the_standard_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "loopwright"
    for ignored in ("relative", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == Path.home() / ".cache/loopwright"


def test_a_wide_drawing_keeps_its_shape() -> None:
    pixels = draw(Drawings(tiny_emoji.ICONS, "tiny").svg("wide"))
    quarter = DRAWN_PX // 4
    assert (pixels[quarter : 3 * quarter] == tiny_emoji.BLUE).all()
    assert (pixels[:quarter] == WHITE).all()
    assert (pixels[3 * quarter :] == WHITE).all()


def test_an_alias_of_an_alias_is_turned_twice() -> None:
    drawings = Drawings(tiny_emoji.ICONS, "tiny")
    np.testing.assert_array_equal(draw(drawings.svg("again")), draw(drawings.svg("left")))


@given(st.integers(1, DRAWN_PX))
def test_reducing_keeps_the_light(px: int) -> None:
    weights = reduction(px)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=0), px / DRAWN_PX, rtol=1e-5)
    flat = np.full((DRAWN_PX, DRAWN_PX, 3), 137, np.uint8)
    assert (reduce(flat, px) == 137).all()


def test_reducing_to_whole_points_is_their_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (DRAWN_PX, DRAWN_PX, 3), np.uint8)
    mean = pixels.reshape(32, 3, 32, 3, 3).mean(axis=(1, 3))
    assert np.abs(reduce(pixels, 32) - mean).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("hexcode", "base"),
    [
        ("1F44B", "1F44B"),
        ("1F468-200D-1F692", "1F9D1-200D-1F692"),  # man firefighter
        ("1F46E-200D-2640", "1F46E"),  # woman police officer
        ("1F6B6-200D-2642-200D-27A1", "1F6B6"),  # man walking: facing right
        ("1F467", "1F9D2"),  # girl
        ("1F468-200D-2764-200D-1F468", "1F491"),  # couple with heart: man, man
        ("1F469-200D-1F466-200D-1F466", "1F46A"),  # family: woman, boy, boy
        ("2640", "2640"),  # the female sign itself
        ("1F9D1-200D-2640", "1F9D1"),
        ("1F3FB", "1F3FB"),  # a skin tone itself
    ],
)
def test_the_base_has_no_gender_and_direction(hexcode: str, base: str) -> None:
    assert base_of(hexcode) == base


@pytest.mark.parametrize(
    ("label", "gender"),
    [
        ("man firefighter: dark skin tone", "man"),
        ("women with bunny ears", "woman"),
        ("Mrs. Claus", "woman"),
        ("merperson", ""),
        ("kiss: woman, man", "mixed"),
        ("person pouting", ""),
    ],
)
def test_the_gender_is_what_the_label_says(label: str, gender: str) -> None:
    assert gender_of(label) == gender


def test_the_longest_colour_counts() -> None:
    assert colour_of("light blue heart") == "light blue"
    assert colour_of("large blue diamond") == "blue"
    assert colour_of("blueberries") == ""
