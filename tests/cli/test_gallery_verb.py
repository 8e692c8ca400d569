"""The gallery of a small model on a small corpus: every picture is the one that it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "scenarios"))
import tiny_emoji
from loopwright.cli import exhibits, main
from loopwright.core.interface import NO_BODY
from loopwright.core.policy import Candidate
from loopwright.models.layers.mixture import MixtureConfig
from loopwright.models.layers.transformer import TransformerConfig
from loopwright.models.wudao.config import PictureConfig, WudaoConfig
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.ports import PictureTokenizer
from loopwright.models.wudao.sample import FAMILY, Painting, TextPictureModel
from loopwright.models.wudao.words import Words
from loopwright.report.gallery.story import GalleryStory
from loopwright.scenarios.emoji import corpus, pairs
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.splits import HEXCODE_KINDS, PARTS, Splits, from_json
from loopwright.store.corpus import open_corpus

HEART, HAND, TONED = "2764", "1F44B", "1F44B-1F3FB"


def lists() -> Splits:
    nothing = {part: [] for part in PARTS}
    return from_json(
        {
            **{kind: nothing for kind in HEXCODE_KINDS},
            "seen": {"tune": [HEART], "report": [HAND, HEART]},
            "tone": {"tune": [], "report": [TONED]},
            "flag": {"tune": [], "report": []},
            "hidden": [],
            "style": {part: {} for part in PARTS},
            "language": {part: {} for part in PARTS},
        }
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_emoji.write_packages(tmp_path / "cache")
    for name, value in tiny_emoji.pins(tmp_path / "cache").items():
        monkeypatch.setattr(corpus, name, value)
    for room in (pairs, exhibits):
        monkeypatch.setattr(room, "load_splits", lists)
    return tmp_path / "cache"


def make_model(folder: Path, cache: Path, languages: tuple[str, ...] = ("en",)) -> Path:
    torch.manual_seed(0)
    texts = ["waving hand: light skin tone", "red heart", "man firefighter", "挥手 红心"]
    words = Words.learn(texts, tags=[*languages, "twemoji"], size=200)
    pictures = PictureConfig(
        px=8, width=16, heads=2, encoder_layers=1, decoder_layers=1, levels=(4, 3, 3)
    )
    backbone = TransformerConfig(
        width=16,
        layers=2,
        heads=2,
        key_heads=2,
        hidden=16,
        causal=True,
        mixture=MixtureConfig(experts=3, chosen=1, hidden=8),
    )
    config = WudaoConfig(pictures=pictures, backbone=backbone, texts=words.size)
    model = Wudao(config)
    torch.nn.init.normal_(model.word_head.weight)
    torch.nn.init.normal_(model.code_head.digit_LD)
    folder.mkdir()
    TextPictureModel(model, PictureTokenizer(pictures), words).save(folder)
    learned = open_corpus(pairs.build_pairs(8, ["twemoji"], languages, cache)).digest
    Candidate.seal(
        folder,
        family=FAMILY,
        interface=NO_BODY,
        config=config.to_json(),
        lineage={"corpora": [learned]},
    )
    return folder


def gathered(folder: Path, cache: Path, **choices) -> GalleryStory:
    settings = {"part": "report", "language": "en", "seed": 0, "each": 9, "tries": 1, "prompts": ()}
    settings["how"] = Painting()
    return exhibits.gather_gallery(
        folder,
        exhibits.Choices(**{**settings, **choices}),
        cache=cache,
        progress=lambda share, words: None,
    )


def row_of(emoji: Emoji, name: str) -> int:
    return emoji.labels("en").tolist().index(name)


def test_every_picture_is_the_one_that_it_says(tmp_path: Path, cache: Path):
    folder = make_model(tmp_path / "model", cache)
    story = gathered(folder, cache, prompts=("blue heart",))
    emoji, model = load_emoji(8, ("twemoji",), cache), TextPictureModel.load(folder)
    learned = {row_of(emoji, n) for n in ("waving hand", "red heart", "man firefighter")}
    held = row_of(emoji, "waving hand: light skin tone")
    by_kind = {found.kind.name: found for found in story.paintings}
    assert set(by_kind) == {"seen", "tone"}
    assert by_kind["tone"].shown[0].prompt == "waving hand: light skin tone"
    shown = [item for found in story.paintings for item in found.shown]
    free = list(zip(story.free[0].painted, story.free[0].nearest, strict=True))
    for item in shown:
        row = row_of(emoji, item.prompt)
        assert np.array_equal(item.true, emoji.pixels[row])
        assert np.array_equal(item.restored[None], model.decode(model.encode(item.true[None])))
        away = np.square(item.painted.astype(float) - item.restored)
        assert item.true_distance == pytest.approx(np.sqrt(away.mean()))
    for painted, near in [*((i.painted, i.nearest) for i in shown), *free]:
        row = row_of(emoji, near.name)
        assert row in learned, f"{held} was never shown"
        assert np.array_equal(near.picture, emoji.pixels[row])
        codes = model.encode(emoji.pixels[sorted(learned)])
        away = np.square(painted.astype(float) - model.decode(codes)).mean(axis=(1, 2, 3))
        assert near.distance == pytest.approx(np.sqrt(away.min()))
    for item in (c for found in story.captions for c in found.shown):
        assert np.array_equal(item.picture, emoji.pixels[row_of(emoji, item.true)])
        assert item.said == model.write(item.picture[None])[0]
    assert story.is_trained_on_them
    assert story.training_pictures == 3


def test_copies_are_counted(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    """A model that always paints the red heart, whatever it is asked."""
    folder = make_model(tmp_path / "model", cache)
    emoji, model = load_emoji(8, ("twemoji",), cache), TextPictureModel.load(folder)
    heart = row_of(emoji, "red heart")
    copied = model.decode(model.encode(emoji.pixels[[heart]]))[0]
    monkeypatch.setattr(
        TextPictureModel, "paint", lambda self, prompts, **how: np.stack([copied] * len(prompts))
    )
    seen, tone = gathered(folder, cache).paintings
    assert (seen.total, seen.copied) == (2, 2)
    assert (tone.total, tone.copied, tone.nearer_true) == (1, 1, 0)
    assert tone.shown[0].nearest.name == "red heart"
    assert tone.shown[0].nearest.is_copied


def test_languages_are_compared_and_experts_counted(tmp_path: Path, cache: Path):
    folder = make_model(tmp_path / "model", cache, languages=("en", "zh"))
    story = gathered(folder, cache, language="zh")
    assert story.experts is not None
    assert [group.name for group in story.experts.languages] == ["en", "zh"]
    assert {"en and the other languages", "zh and the other languages"} < {
        contrast.name for contrast in story.experts.contrasts
    }
    words = {group.name: group.tokens for group in story.experts.groups}
    assert words["painting, words"] == words["writing, words"] > 0
    assert words["painting, codes"] % 4 == 0
    prompts = [item.prompt for found in story.paintings for item in found.shown]
    assert "挥手" in prompts


def test_another_corpus_than_it_learned_from_is_said(tmp_path: Path, cache: Path):
    folder = make_model(tmp_path / "model", cache)
    sealed = Candidate.open(folder)
    Candidate.seal(
        folder, family=FAMILY, interface=NO_BODY, config=sealed.config, lineage={"corpora": ["x"]}
    )
    assert not gathered(folder, cache).is_trained_on_them


def test_the_verb_writes_a_page_and_a_grid(tmp_path: Path, cache: Path, capsys):
    folder = make_model(tmp_path / "model", cache)
    words = ["gallery", str(folder), "--cache", str(cache), "--each", "2", "--temperature", "0.5"]
    page, grid = tmp_path / "out/page.html", tmp_path / "out/grid.png"
    more = ["--out", str(page), "--grid", str(grid), "--prompt", "a <b>", "--prompt", "blue heart"]
    assert main([*words, *more]) == 0
    assert capsys.readouterr().out.splitlines() == [str(page), str(grid)]
    text = page.read_text()
    assert "“a &lt;b&gt;”" in text
    assert "“blue heart”" in text
    assert "made for a test" in text, "the attribution"
    assert Candidate.open(folder).digest in text
    assert grid.read_bytes().startswith(b"\x89PNG")
    assert "temperature 0.5, guidance 1.5" in text
    again = tmp_path / "again.html"
    assert main([*words, "--out", str(again), *more[4:]]) == 0
    assert again.read_text() == text, "equal models and choices give equal pages"


def test_what_cannot_be_shown_is_refused_in_words(tmp_path: Path, cache: Path, capsys):
    folder = make_model(tmp_path / "model", cache)
    words = ["gallery", str(folder), "--cache", str(cache), "--out", str(tmp_path / "page.html")]
    assert main([*words, "--language", "zh"]) == 2
    assert "en" in capsys.readouterr().err
    assert main([*words, "--each", "0"]) == 2
    assert "expected at least 1" in capsys.readouterr().err
    assert main(["gallery", str(tmp_path / "none"), "--cache", str(cache)]) == 1
    assert not (tmp_path / "page.html").exists()
