from __future__ import annotations

import itertools
import json
import re
from importlib import resources

import numpy as np
import pytest

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import MissingExtra, UnknownName
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.fetch import FetchFailed
from loopwright.scenarios.emoji.splits import (
    DIGEST,
    HEXCODE_KINDS,
    KINDS,
    PARTS,
    TWO_TONES_KEPT,
    load_splits,
    sampling_weights,
)

SPLITS = load_splits()
TONE = re.compile(r"-1F3F[B-F]")


def test_the_lists_are_the_frozen_ones() -> None:
    data = resources.files("loopwright.scenarios.emoji").joinpath("splits.json").read_bytes()
    assert digest_bytes(data) == DIGEST
    assert len(data) < 300_000
    assert json.loads(data)["format"] == 1


def test_no_emoji_is_in_two_lists() -> None:
    whole = [SPLITS.hexcodes[kind][part] for kind in HEXCODE_KINDS for part in PARTS]
    lists = [*whole, SPLITS.hidden]
    for one, other in itertools.combinations(lists, 2):
        assert one.isdisjoint(other)
    held = frozenset().union(*lists)
    styled = [found for part in PARTS for found in SPLITS.by_style[part].values()]
    for one, other in itertools.combinations([*styled, held], 2):
        assert one.isdisjoint(other)
    for language in SPLITS.by_language["report"]:
        tune, report = (SPLITS.by_language[part][language] for part in PARTS)
        assert tune.isdisjoint(report | held)
        assert report.isdisjoint(held)


def test_nothing_held_out_is_trained_on_and_everything_seen_is() -> None:
    for kind, part in itertools.product(HEXCODE_KINDS, PARTS):
        assert not any(SPLITS.is_train(h, "noto", "zh") for h in SPLITS.hexcodes[kind][part])
    for part in PARTS:
        assert all(SPLITS.is_train(h, "noto") for h in SPLITS.hexcodes["seen"][part])
        for style, held in SPLITS.by_style[part].items():
            assert not any(SPLITS.is_train(h, style) for h in held)
            assert all(
                SPLITS.is_train(h, other) for h in held for other in SPLITS.by_style[part]
                if other != style
            )  # fmt: skip
        for language, held in SPLITS.by_language[part].items():
            assert not any(SPLITS.is_train(h, "noto", language) for h in held)
            assert all(SPLITS.is_train(h, "noto", "en") for h in held)


def test_seen_is_asked_about_twice_with_other_emoji() -> None:
    tune, report = (SPLITS.hexcodes["seen"][part] for part in PARTS)
    assert len(tune) == len(report) == 150
    assert tune.isdisjoint(report)


def test_an_unseen_tone_leaves_the_emoji_and_the_tone_to_be_seen() -> None:
    held = SPLITS.hexcodes["tone"]["tune"] | SPLITS.hexcodes["tone"]["report"]
    parents = [TONE.sub("", hexcode) for hexcode in held]
    assert len(set(parents)) == len(held)
    assert all(SPLITS.is_train(parent, "twemoji") for parent in parents)
    tones = [TONE.findall(hexcode)[0] for hexcode in held]
    assert min(tones.count(tone) for tone in set(tones)) > len(held) / 8
    assert len(set(tones)) == 5


def test_names_hidden_in_one_language_are_hidden_in_its_twin() -> None:
    for part in PARTS:
        for one, other in (("es", "es-mx"), ("zh", "zh-hant")):
            assert SPLITS.by_language[part][one] == SPLITS.by_language[part][other]
        assert not {"en", "en-gb"} & set(SPLITS.by_language[part])


def synthetic(rows: list[tuple[str, str, str, tuple[int, int]]]) -> Emoji:
    """Return emoji without pictures: hexcode, style, base, tones."""
    texts = np.array([row[:3] for row in rows], object).T
    empty = np.array([""] * len(rows), object)
    return Emoji(
        corpus=None,  # type: ignore[arg-type]
        px=1,
        pixels=np.zeros((len(rows), 1, 1, 3), np.uint8),
        picture=np.arange(len(rows), dtype=np.int32),
        hexcode=texts[0],
        style=texts[1],
        parent=texts[0],
        base=texts[2],
        group=empty,
        subgroup=empty,
        gender=empty,
        colour=empty,
        tones=np.array([row[3] for row in rows], np.int8),
        is_flag=np.zeros(len(rows), bool),
    )


def test_families_weigh_by_the_root_of_their_size() -> None:
    family = [(f"1F44B-{tone}", style, "1F44B", (tone, 0)) for tone in range(4) for style in "ab"]
    emoji = synthetic([*family, ("1F600", "a", "1F600", (0, 0)), ("1F91D", "a", "1F91D", (1, 2))])
    weights = sampling_weights(emoji, np.arange(len(emoji)))
    assert weights.sum() == pytest.approx(1)
    # Four emoji, whatever the number of styles.
    np.testing.assert_allclose(weights[:8] / weights[8], 0.5)
    assert weights[9] / weights[8] == pytest.approx(TWO_TONES_KEPT)
    assert sampling_weights(emoji, np.array([], int)).size == 0


def test_rows_of_a_style_need_another_one() -> None:
    hexcode = min(SPLITS.by_style["report"]["noto"])
    both = synthetic([(hexcode, style, hexcode, (0, 0)) for style in ("twemoji", "noto")])
    assert SPLITS.rows(both, "style", "report").tolist() == [1]
    assert SPLITS.train_rows(both).tolist() == [0]
    alone = synthetic([(hexcode, "noto", hexcode, (0, 0))])
    assert SPLITS.rows(alone, "style", "report").tolist() == []
    assert SPLITS.train_rows(alone).tolist() == []
    with pytest.raises(UnknownName, match="did you mean 'style'"):
        SPLITS.rows(both, "styles", "report")  # type: ignore[arg-type]


def test_a_name_that_is_hidden_is_asked_about_in_its_language_alone() -> None:
    hexcode = min(SPLITS.by_language["report"]["zh"])
    emoji = synthetic([(hexcode, "noto", hexcode, (0, 0))])
    assert SPLITS.rows(emoji, "language", "report", "zh").tolist() == [0]
    assert SPLITS.rows(emoji, "language", "report", "en").tolist() == []
    assert SPLITS.train_rows(emoji, "zh").tolist() == []
    assert SPLITS.train_rows(emoji, "en").tolist() == [0]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Emoji:
    try:
        return load_emoji(32, cache=tmp_path_factory.mktemp("cache"))
    except (MissingExtra, FetchFailed) as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_the_real_emoji_fit_the_lists(real: Emoji) -> None:
    assert len(real) == 10_817
    assert {style: int((real.style == style).sum()) for style in real.styles} == {
        "twemoji": 3970, "noto": 3708, "fluent": 3139,
    }  # fmt: skip
    assert len(real.languages) == 28
    assert all((real.labels(language) != "").all() for language in real.languages)
    known = set(real.hexcode)
    for kind, part in itertools.product(KINDS, PARTS):
        language = "de" if kind == "language" else "en"
        assert len(SPLITS.rows(real, kind, part, language)) > 0
    assert all(h in known for parts in SPLITS.hexcodes.values() for p in PARTS for h in parts[p])


@pytest.mark.slow
def test_no_picture_that_is_asked_about_is_trained_on(real: Emoji) -> None:
    shown = set(real.picture[SPLITS.train_rows(real)])
    for kind, part in itertools.product(("style", *HEXCODE_KINDS), PARTS):
        asked = set(real.picture[SPLITS.rows(real, kind, part)])
        assert asked.isdisjoint(shown), kind


@pytest.mark.slow
def test_what_makes_up_an_unseen_composition_is_shown(real: Emoji) -> None:
    rows = SPLITS.train_rows(real)
    bases = set(real.base[rows])
    tones = {
        (base, tuple(tone)) for base, tone in zip(real.base[rows], real.tones[rows], strict=True)
    }
    colours = set(real.colour[rows])
    genders = set(zip(real.base[rows], real.gender[rows], strict=True))
    for part in PARTS:
        for row in SPLITS.rows(real, "tone", part):
            assert (real.base[row], (0, 0)) in tones
        for row in SPLITS.rows(real, "gender", part):
            other = {"man": "woman", "woman": "man"}[real.gender[row]]
            assert (real.base[row], other) in genders
            assert (real.base[row], real.gender[row]) not in genders
        for row in SPLITS.rows(real, "colour", part):
            assert real.colour[row] in colours
        for row in SPLITS.rows(real, "concept", part):
            assert real.base[row] not in bases
